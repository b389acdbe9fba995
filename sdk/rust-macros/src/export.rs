//! `export!`.

use proc_macro2::TokenStream;
use quote::quote;
use std::collections::HashSet;
use syn::ext::IdentExt;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Path, Result, Token};

pub fn expand(functions: TokenStream) -> Result<TokenStream> {
    let functions = Punctuated::<Path, Token![,]>::parse_terminated.parse2(functions)?;
    check(&functions)?;
    let functions = functions.iter();
    Ok(quote! {
        /// The functions of this transform.
        pub static TRANSFORM: ::unskew_sdk::Transform =
            ::unskew_sdk::Transform::new(&[#(::unskew_sdk::Entry::of::<#functions>()),*]);

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use ::unskew_sdk::__private as sdk;

            struct Component;

            impl sdk::Guest for Component {
                fn describe() -> sdk::Vec<sdk::Function> {
                    TRANSFORM.describe()
                }

                fn apply(
                    function: u32,
                    params: sdk::Vec<sdk::Column>,
                    batch: sdk::Batch,
                ) -> ::core::result::Result<sdk::Outcome, sdk::Failure> {
                    TRANSFORM.apply(function, &params, batch)
                }
            }

            ::unskew_sdk::abi::export_component!(Component with_types_in ::unskew_sdk::abi);
        };
    })
}

fn check(functions: &Punctuated<Path, Token![,]>) -> Result<()> {
    if functions.is_empty() {
        let message = "a transform has at least one function: `export!(my_function);`";
        return Err(Error::new(proc_macro2::Span::call_site(), message));
    }
    let mut names = HashSet::new();
    for function in functions {
        let name = function.segments.last().map(|segment| segment.ident.unraw().to_string());
        if let Some(name) = name.filter(|name| !names.insert(name.clone())) {
            let message = format!("a function named `{name}` is exported already");
            return Err(Error::new(function.span(), message));
        }
    }
    Ok(())
}
