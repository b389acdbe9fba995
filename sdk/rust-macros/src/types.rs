//! A word on types that authors reach for and the platform does not have.
//!
//! The traits of the SDK decide what is supported; what this module lets pass, they refuse, but at
//! greater length.

use syn::{Error, GenericArgument, PathArguments, Result, Type};

/// # Errors
/// Where a type of Rust has a near relative on the platform.
pub fn check(data_type: &Type) -> Result<()> {
    match data_type {
        Type::Reference(reference) => match &*reference.elem {
            Type::Slice(slice) => check_item(&slice.elem),
            inner => check(inner),
        },
        Type::Paren(inner) => check(&inner.elem),
        Type::Group(inner) => check(&inner.elem),
        Type::Tuple(_) => Err(unsupported(
            data_type,
            "an argument for each input, and a struct with `#[derive(Outputs)]` for several outputs",
        )),
        Type::Array(_) => Err(unsupported(data_type, "lists: `Vec` or a slice")),
        Type::ImplTrait(_) => {
            Err(unsupported(data_type, "one type for each argument: write it here"))
        }
        Type::Path(_) => check_path(data_type),
        _ => Ok(()),
    }
}

/// # Errors
/// As for [`check`], and where the type is a list.
pub fn check_param(data_type: &Type) -> Result<()> {
    if is_list(data_type) {
        return Err(Error::new_spanned(data_type, "a parameter is not a list: make this an input"));
    }
    check(data_type)
}

fn is_list(data_type: &Type) -> bool {
    let is_byte = |item| name_and_arguments(item).is_some_and(|(name, _)| name == "u8");
    if let Type::Reference(reference) = data_type {
        return matches!(&*reference.elem, Type::Slice(slice) if !is_byte(&slice.elem));
    }
    let Some((name, arguments)) = name_and_arguments(data_type) else {
        return false;
    };
    match name.as_str() {
        "StrList" => true,
        "Vec" => !arguments.into_iter().all(is_byte),
        "Option" => arguments.into_iter().any(is_list),
        _ => false,
    }
}

fn check_path(data_type: &Type) -> Result<()> {
    let Some((name, arguments)) = name_and_arguments(data_type) else {
        return Ok(());
    };
    let instead = match name.as_str() {
        "u8" | "i8" | "u16" | "i16" => "`i32`",
        "u32" | "u64" | "u128" | "i128" | "usize" | "isize" => "`i64`",
        "char" => "`&str` or `String`",
        "HashMap" | "BTreeMap" | "HashSet" | "BTreeSet" => "lists: `Vec` or a slice",
        "SystemTime" | "Instant" => "`Timestamp`",
        "Vec" => return arguments.into_iter().try_for_each(check_item),
        "Option" | "Result" => return arguments.into_iter().take(1).try_for_each(check),
        _ => return Ok(()),
    };
    Err(unsupported(data_type, instead))
}

/// Bytes are items, though not values; nulls and lists are values, though not items.
fn check_item(item: &Type) -> Result<()> {
    match name_and_arguments(item).map(|(name, _)| name).as_deref() {
        Some("u8") => Ok(()),
        Some("Option") => Err(unsupported(item, "lists whose items are never null")),
        Some("Vec") => Err(unsupported(item, "lists of `i64`, `f32`, `f64` or strings")),
        Some("i32") => Err(unsupported(item, "lists of `i64`")),
        Some("bool" | "Date" | "Timestamp") => {
            Err(unsupported(item, "lists of `i64`, `f32`, `f64` or strings"))
        }
        _ => check(item),
    }
}

/// The last name in a path, and the types in its angle brackets.
fn name_and_arguments(data_type: &Type) -> Option<(String, Vec<&Type>)> {
    let Type::Path(path) = data_type else {
        return None;
    };
    let segment = path.path.segments.last()?;
    let arguments = match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => arguments.args.iter().collect(),
        _ => Vec::new(),
    };
    let types = arguments.into_iter().filter_map(|argument| match argument {
        GenericArgument::Type(data_type) => Some(data_type),
        _ => None,
    });
    Some((segment.ident.to_string(), types.collect()))
}

fn unsupported(data_type: &Type, instead: &str) -> Error {
    Error::new_spanned(data_type, format!("not a type of the platform; it has {instead}"))
}
