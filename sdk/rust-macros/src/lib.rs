//! The macros of `unskew-sdk`, where they are documented.

mod argument;
mod documentation;
mod export;
mod lifetimes;
mod outputs;
mod transform;
mod types;

use proc_macro::TokenStream;

/// Makes a function of a transform out of an ordinary function on scalars.
///
/// The function itself stays as it is. Beside it, a type of the same name implements
/// `TransformFunction`: the loop over a batch, the handling of nulls and the description.
///
/// - An argument is an input column. A null in it makes the row null, unseen by the function, unless
///   the argument's type is an `Option`.
/// - An argument with `#[param]` is a constant of the definition that uses the function: a scalar
///   or an `Option` of one.
/// - The function returns a value, an `Option` of one, or a `Result` of either. A value is an
///   output column named after the function, or as in `#[transform(output = "name")]`; a struct
///   with `#[derive(Outputs)]` is several.
/// - Doc comments on the function and on its arguments go into the description.
#[proc_macro_attribute]
pub fn transform(arguments: TokenStream, item: TokenStream) -> TokenStream {
    transform::expand(arguments.into(), item.into()).into()
}

/// Makes a struct the return type of a function with several outputs: a column for each field, in
/// order, with the field's name and doc comment. A field is a value or an `Option` of one.
#[proc_macro_derive(Outputs)]
pub fn outputs(item: TokenStream) -> TokenStream {
    outputs::expand(item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Exports functions, in this order, as the component's; once in a crate.
///
/// It defines `TRANSFORM`, on which native tests call the functions as the platform does.
#[proc_macro]
pub fn export(functions: TokenStream) -> TokenStream {
    export::expand(functions.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
