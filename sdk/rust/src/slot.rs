//! One argument of a call, checked before a value is read out of it.

use crate::abi::{Column, DataType, Failure};
use crate::bitmap;
use crate::text::all_ascii;
use alloc::format;
use core::fmt::Display;

/// A column in the place of an argument.
#[derive(Debug, Clone, Copy)]
pub struct Slot<'a> {
    /// The function that is called.
    pub(crate) function: &'static str,
    /// "input" or "parameter".
    pub(crate) kind: &'static str,
    /// The argument's name.
    pub(crate) name: &'static str,
    /// What was given.
    pub(crate) column: &'a Column,
    /// How many rows it must have.
    pub(crate) rows: usize,
}

impl<'a> Slot<'a> {
    /// The failure of the call because of this argument.
    #[cold]
    pub(crate) fn failure(&self, found: impl Display) -> Failure {
        let Slot { function, kind, name, .. } = self;
        Failure { message: format!("`{function}` was not run: {kind} `{name}` {found}") }
    }

    /// The failure of the call because the column is of another type.
    #[cold]
    pub(crate) fn wrong_type(&self, wanted: DataType) -> Failure {
        let found = self.column.values.data_type().name();
        self.failure(format_args!("is {found}, but its type is {}", wanted.name()))
    }

    /// `items` if there is one for each row.
    #[inline]
    pub(crate) fn one_for_each_row<T>(&self, items: &'a [T]) -> Result<&'a [T], Failure> {
        if items.len() == self.rows { Ok(items) } else { Err(self.wrong_length(items.len())) }
    }

    #[cold]
    fn wrong_length(&self, found: usize) -> Failure {
        self.failure(format_args!("has {found} values for {} rows", self.rows))
    }

    /// `bytes` if they are a bitmap over the rows.
    pub(crate) fn bitmap(&self, bytes: &'a [u8]) -> Result<&'a [u8], Failure> {
        let wanted = bitmap::bytes_for(self.rows);
        if bytes.len() == wanted {
            return Ok(bytes);
        }
        let (found, rows) = (bytes.len(), self.rows);
        Err(self.failure(format_args!("has a bitmap of {found} bytes; {rows} rows take {wanted}")))
    }

    /// The rows that have a value, or `None` when all have.
    pub(crate) fn validity(&self) -> Result<Option<&'a [u8]>, Failure> {
        match self.column.validity.as_slice() {
            [] => Ok(None),
            bytes => self.bitmap(bytes).map(Some),
        }
    }

    /// `offsets` if they lay `rows` items over exactly `total` values.
    pub(crate) fn offsets(
        &self,
        offsets: &'a [i32],
        rows: usize,
        total: usize,
    ) -> Result<&'a [i32], Failure> {
        let count = offsets.len();
        if count.checked_sub(1) != Some(rows) {
            return Err(self.failure(format_args!("has {count} offsets for {rows} items")));
        }
        let ends = (offsets.first().copied(), offsets.last().map(|&last| usize::try_from(last)));
        // Without an early exit, which would not be SIMD.
        let ascending = offsets.windows(2).fold(true, |all, pair| all & (pair[0] <= pair[1]));
        if ends != (Some(0), Some(Ok(total))) || !ascending {
            let rule = "must ascend from 0 to the number of values";
            return Err(self.failure(format_args!("has offsets that are not valid; they {rule}")));
        }
        Ok(offsets)
    }

    /// `bytes` as text, if they are UTF-8 and `offsets` fall between characters.
    pub(crate) fn text(&self, bytes: &'a [u8], offsets: &[i32]) -> Result<&'a str, Failure> {
        if all_ascii(bytes) {
            // SAFETY: ASCII is UTF-8.
            return Ok(unsafe { core::str::from_utf8_unchecked(bytes) });
        }
        let text = core::str::from_utf8(bytes).map_err(|error| {
            self.failure(format_args!("is not UTF-8 at byte {}", error.valid_up_to()))
        })?;
        if offsets.iter().all(|&offset| text.is_char_boundary(offset as usize)) {
            return Ok(text);
        }
        Err(self.failure("has an offset inside a character"))
    }
}
