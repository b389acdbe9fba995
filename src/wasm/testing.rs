//! Guests for tests, in WebAssembly text: small enough to be wrong in exactly one way.

use std::fmt::Write as _;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::bindings::{INTERFACE, v1};
use crate::value::{DataType, Field, Function};

/// Where the description and the answer lie in a guest's memory; below are its scratch bytes.
const DATA: u32 = 1024;

/// A guest that describes itself as told and answers every call in the same way.
pub(crate) struct Guest {
    data: Vec<u8>,
    description: u32,
    apply: String,
    extra: String,
}

impl Guest {
    /// A guest whose `apply` is this body: it has `$function`, `$params`, `$params_length`,
    /// `$rows`, `$columns` and `$columns_length`, and gives the address of its answer.
    pub(crate) fn new(functions: &[Function], apply: &str) -> Self {
        let mut guest = Self {
            data: Vec::new(),
            description: 0,
            apply: apply.to_owned(),
            extra: String::new(),
        };
        let functions: Vec<_> = functions.iter().map(|f| guest.function(f)).collect();
        let list = guest.list(&functions);
        guest.description = guest.place(&list);
        guest
    }

    /// A guest that gives this outcome, whatever it is called with.
    pub(crate) fn answering(functions: &[Function], outcome: v1::Outcome) -> Self {
        let mut guest = Self::new(functions, "");
        let columns: Vec<_> = outcome.columns.iter().map(|c| guest.column(c)).collect();
        let errors: Vec<_> = outcome.errors.iter().map(|e| guest.row_error(e)).collect();
        let (columns, errors) = (guest.list(&columns), guest.list(&errors));
        let answer = guest.place(&[&[0; 4][..], &columns, &errors].concat());
        guest.apply = format!("(i32.const {answer})");
        guest
    }

    /// A guest that gives back its input columns.
    pub(crate) fn echo(functions: &[Function]) -> Self {
        Self::new(
            functions,
            "(i32.store (i32.const 0) (i32.const 0))
             (i32.store (i32.const 4) (local.get $columns))
             (i32.store (i32.const 8) (local.get $columns_length))
             (i64.store (i32.const 12) (i64.const 0))
             (i32.const 0)",
        )
    }

    /// Further fields of the core module: functions, tables, memories.
    pub(crate) fn with(mut self, extra: &str) -> Self {
        self.extra.push_str(extra);
        self
    }

    /// The core module in WebAssembly text.
    pub(crate) fn text(&self) -> String {
        let Self { description, apply, extra, .. } = self;
        let mut data = String::new();
        for byte in &self.data {
            let _ = write!(data, "\\{byte:02x}");
        }
        let heap = DATA as usize + self.data.len().next_multiple_of(16);
        let pages = heap / 65536 + 2;
        format!(
            r#"(module
            (memory (export "memory") {pages})
            (global $heap (mut i32) (i32.const {heap}))
            (data (i32.const {DATA}) "{data}")
            (func (export "{INTERFACE}#describe") (result i32) (i32.const {description}))
            (func $apply (export "{INTERFACE}#apply")
                (param $function i32) (param $params i32) (param $params_length i32)
                (param $rows i32) (param $columns i32) (param $columns_length i32) (result i32)
                {apply})
            {extra}
            (func (export "cabi_realloc")
                (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
                (local $start i32)
                (local.set $start (i32.and
                    (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
                (global.set $heap (i32.add (local.get $start) (local.get $size)))
                (block $fits
                    (br_if $fits (i32.le_u (global.get $heap)
                        (i32.mul (memory.size) (i32.const 65536))))
                    (drop (memory.grow (i32.add (i32.const 1)
                        (i32.shr_u (local.get $size) (i32.const 16))))))
                (local.get $start)))"#
        )
    }

    /// The component.
    pub(crate) fn component(&self) -> Vec<u8> {
        component(&self.text(), include_str!("../../wit/transform.wit"))
    }

    fn place(&mut self, bytes: &[u8]) -> u32 {
        self.data.resize(self.data.len().next_multiple_of(8), 0);
        let address = DATA + u32::try_from(self.data.len()).unwrap();
        self.data.extend_from_slice(bytes);
        address
    }

    /// Address and length of items that lie end to end.
    fn list<const N: usize>(&mut self, items: &[[u8; N]]) -> [u8; 8] {
        let address = self.place(items.as_flattened());
        words([address, u32::try_from(items.len()).unwrap()])
    }

    fn text_of(&mut self, text: &str) -> [u8; 8] {
        self.list(&text.bytes().map(|byte| [byte]).collect::<Vec<_>>())
    }

    fn function(&mut self, function: &Function) -> [u8; 40] {
        let mut fields = |fields: &[Field]| {
            let fields: Vec<_> = fields.iter().map(|field| self.field(field)).collect();
            self.list(&fields)
        };
        let (params, inputs) = (fields(&function.params), fields(&function.inputs));
        let outputs = fields(&function.outputs);
        let name = self.text_of(&function.name);
        let documentation = self.text_of(&function.documentation);
        joined([&name, &documentation, &params, &inputs, &outputs])
    }

    fn field(&mut self, field: &Field) -> [u8; 20] {
        let place = DataType::ALL.iter().position(|known| *known == field.data_type);
        let flags = [u8::try_from(place.unwrap()).unwrap(), field.nullable.into(), 0, 0];
        let name = self.text_of(&field.name);
        let documentation = self.text_of(&field.documentation);
        joined([&name, &flags, &documentation])
    }

    fn row_error(&mut self, error: &v1::RowError) -> [u8; 12] {
        let message = self.text_of(&error.message);
        joined([&error.row.to_le_bytes()[..], &message])
    }

    fn column(&mut self, column: &v1::ColumnResult) -> [u8; 36] {
        let (case, mut payload) = self.values(&column.values);
        payload.resize(24, 0);
        let validity = self.bytes(&column.validity);
        joined([&[case, 0, 0, 0][..], &payload, &validity])
    }

    fn bytes(&mut self, bytes: &[u8]) -> [u8; 8] {
        self.list(&bytes.iter().map(|byte| [*byte]).collect::<Vec<_>>())
    }

    fn values(&mut self, values: &v1::ValuesResult) -> (u8, Vec<u8>) {
        use v1::ValuesResult as Values;
        macro_rules! numbers {
            ($values:expr) => {
                self.list(&$values.iter().map(|x| x.to_le_bytes()).collect::<Vec<_>>())
            };
        }
        macro_rules! list {
            ($list:expr) => {
                [numbers!($list.offsets), numbers!($list.items)].concat()
            };
        }
        match values {
            Values::Boolean(bits) => (0, self.bytes(bits).into()),
            Values::Int32(values) => (1, numbers!(values).into()),
            Values::Int64(values) => (2, numbers!(values).into()),
            Values::Float32(values) => (3, numbers!(values).into()),
            Values::Float64(values) => (4, numbers!(values).into()),
            Values::Utf8(items) => (5, self.var_bytes(items)),
            Values::Binary(items) => (6, self.var_bytes(items)),
            Values::Date(values) => (7, numbers!(values).into()),
            Values::Timestamp(values) => (8, numbers!(values).into()),
            Values::ListInt64(list) => (9, list!(list)),
            Values::ListFloat32(list) => (10, list!(list)),
            Values::ListFloat64(list) => (11, list!(list)),
            Values::ListUtf8(list) => {
                let offsets = numbers!(list.offsets);
                (12, [offsets.to_vec(), self.var_bytes(&list.items)].concat())
            }
        }
    }

    fn var_bytes(&mut self, items: &v1::VarBytesResult) -> Vec<u8> {
        let offsets: Vec<_> = items.offsets.iter().map(|x| x.to_le_bytes()).collect();
        [self.list(&offsets), self.bytes(&items.bytes)].concat()
    }
}

/// The component of a core module in WebAssembly text and the one world of a WIT text.
pub(crate) fn component(module: &str, wit: &str) -> Vec<u8> {
    let mut module = wat::parse_str(module).unwrap();
    let mut resolve = Resolve::default();
    let package = resolve.push_str("test.wit", wit).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(&module).unwrap();
    encoder.encode().unwrap()
}

/// A guest that gives these values and row errors, whatever it is called with.
pub(crate) fn answer_int64(function: &Function, values: &[i64], errors: &[(u32, &str)]) -> Guest {
    let column =
        v1::ColumnResult { values: v1::ValuesResult::Int64(values.to_vec()), validity: vec![] };
    let error =
        |(row, message): &(u32, &str)| v1::RowError { row: *row, message: (*message).to_owned() };
    let errors = errors.iter().map(error).collect();
    let outcome = v1::Outcome { columns: vec![column], errors };
    Guest::answering(std::slice::from_ref(function), outcome)
}

/// `f(x: float64?) -> (y: float64?)` that puts this in the place of every `x`: it has `$at`, the
/// address of the value, `$row`, `$rows`, and `$kept`, a global of the instance.
pub(crate) fn map_float64(value: &str) -> Guest {
    let fields = |name| [field(name, DataType::Float64, true)];
    let apply = format!(
        "(local $row i32) (local $at i32)
         (local.set $at (i32.load (i32.add (local.get $columns) (i32.const 4))))
         (block $done (loop $next
            (br_if $done (i32.ge_u (local.get $row) (local.get $rows)))
            (f64.store (local.get $at) {value})
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (local.set $row (i32.add (local.get $row) (i32.const 1)))
            (br $next)))
         (i32.store (i32.const 4) (local.get $columns))
         (i32.store (i32.const 8) (local.get $columns_length))
         (i32.const 0)"
    );
    Guest::new(&[function("f", &fields("x"), &fields("y"))], &apply)
        .with("(global $kept (mut f64) (f64.const 0))")
}

/// A field without documentation.
pub(crate) fn field(name: &str, data_type: DataType, nullable: bool) -> Field {
    Field { name: name.to_owned(), data_type, nullable, documentation: String::new() }
}

/// A function without params and documentation.
pub(crate) fn function(name: &str, inputs: &[Field], outputs: &[Field]) -> Function {
    Function {
        name: name.to_owned(),
        documentation: String::new(),
        params: vec![],
        inputs: inputs.to_vec(),
        outputs: outputs.to_vec(),
    }
}

fn words(words: [u32; 2]) -> [u8; 8] {
    joined([&words[0].to_le_bytes()[..], &words[1].to_le_bytes()])
}

fn joined<const N: usize, const M: usize>(parts: [&[u8]; M]) -> [u8; N] {
    parts.concat().try_into().unwrap()
}
