//! The arguments of a function.

use crate::documentation;
use crate::lifetimes;
use crate::types;
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Attribute, Error, FnArg, Ident, Pat, Result, Type};

/// An argument of a function: an input or a parameter.
pub struct Argument {
    name: String,
    documentation: String,
    /// Lifetimes left to inference.
    data_type: Type,
    pub is_param: bool,
    /// The variable that holds its reader or, for a parameter, its value.
    variable: Ident,
}

impl Argument {
    /// # Errors
    /// Where it is `self`, has no name, or is of a type that the platform has not.
    pub fn read(index: usize, argument: &FnArg) -> Result<Self> {
        let argument = match argument {
            FnArg::Typed(argument) => argument,
            FnArg::Receiver(receiver) => {
                return Err(Error::new_spanned(
                    receiver,
                    "a transform is a free function: remove `self`",
                ));
            }
        };
        let Pat::Ident(pattern) = &*argument.pat else {
            return Err(Error::new_spanned(
                &argument.pat,
                "an argument's name is a column's: write a name here",
            ));
        };
        if let Some(attribute) = argument.attrs.iter().find(|a| is_param(a)) {
            attribute.meta.require_path_only()?;
        }
        let is_param = argument.attrs.iter().any(is_param);
        if is_param {
            types::check_param(&argument.ty)?
        } else {
            types::check(&argument.ty)?
        }
        Ok(Self {
            name: pattern.ident.unraw().to_string(),
            documentation: documentation::text(&argument.attrs),
            data_type: lifetimes::infer(&argument.ty),
            is_param,
            variable: format_ident!("argument_{index}", span = Span::mixed_site()),
        })
    }

    fn role(&self) -> TokenStream {
        if self.is_param { quote!(::unskew_sdk::Param) } else { quote!(::unskew_sdk::Input) }
    }

    /// Its description.
    pub fn field(&self) -> TokenStream {
        let Self { name, documentation, data_type, .. } = self;
        let role = self.role();
        quote! {
            sdk::Field {
                name: sdk::ToOwned::to_owned(#name),
                data_type: <<#data_type as #role<'_>>::Value as sdk::InputValue<'_>>::DATA_TYPE,
                nullable: <#data_type as #role<'_>>::NULLABLE,
                documentation: sdk::ToOwned::to_owned(#documentation),
            }
        }
    }

    /// What is known of it, an input, before a batch is there.
    pub fn wanted(&self) -> TokenStream {
        let Self { name, data_type, .. } = self;
        quote!(sdk::Wanted::new::<#data_type>(#name))
    }

    /// The statement that checks what is given and keeps it in a variable.
    pub fn open(&self) -> TokenStream {
        let Self { name, data_type, variable, .. } = self;
        let method = Ident::new(if self.is_param { "param" } else { "input" }, Span::call_site());
        quote_spanned! {Span::mixed_site()=> let #variable = call.#method::<#data_type>(#name)?; }
    }

    /// What the function is given for `row`.
    pub fn value(&self) -> TokenStream {
        let Self { data_type, variable, .. } = self;
        if self.is_param {
            quote!(::core::clone::Clone::clone(&#variable))
        } else {
            quote_spanned! {Span::mixed_site()=>
                <#data_type as ::unskew_sdk::Input<'_>>::read(&#variable, row)
            }
        }
    }
}

/// Whether the attribute makes an argument a parameter.
pub fn is_param(attribute: &Attribute) -> bool {
    attribute.path().is_ident("param")
}
