//! `#[transform]`.

use crate::documentation;
use crate::types;
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::parse::Parser;
use syn::{
    Attribute, Error, FnArg, GenericArgument, GenericParam, Ident, ItemFn, Lifetime, LitStr, Pat,
    PathArguments, Result, ReturnType, Type,
};

pub fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut function: ItemFn = match syn::parse2(item) {
        Ok(function) => function,
        Err(error) => return error.into_compile_error(),
    };
    let described = output_name(arguments).and_then(|output| Signature::read(&function, output));
    function.sig.inputs.iter_mut().for_each(strip);
    let generated = match described {
        Ok(signature) => signature.expand(),
        Err(error) => error.into_compile_error(),
    };
    quote! { #function #generated }
}

/// The name in `#[transform(output = "name")]`.
fn output_name(arguments: TokenStream) -> Result<Option<LitStr>> {
    let mut name = None;
    let parser = syn::meta::parser(|meta| {
        if !meta.path.is_ident("output") {
            return Err(meta.error("unknown option; there is `output = \"name\"`"));
        }
        name = Some(meta.value()?.parse()?);
        Ok(())
    });
    parser.parse2(arguments)?;
    Ok(name)
}

/// Removes from an argument what only this macro understands.
fn strip(argument: &mut FnArg) {
    if let FnArg::Typed(argument) = argument {
        argument
            .attrs
            .retain(|attribute| !is_param(attribute) && !documentation::is_doc(attribute));
    }
}

fn is_param(attribute: &Attribute) -> bool {
    attribute.path().is_ident("param")
}

/// What the description and the loop are made from.
struct Signature {
    function: ItemFn,
    output: Option<LitStr>,
    arguments: Vec<Argument>,
    returned: Type,
}

struct Argument {
    name: String,
    documentation: String,
    /// Lifetimes left to inference.
    data_type: Type,
    is_param: bool,
    /// The variable that holds its reader or, for a parameter, its value.
    variable: Ident,
}

impl Signature {
    fn read(function: &ItemFn, output: Option<LitStr>) -> Result<Self> {
        let signature = &function.sig;
        let mut errors = Errors::default();
        errors.refuse(
            &signature.asyncness,
            "a transform waits for nothing: remove `async`",
        );
        errors.refuse(
            &signature.unsafety,
            "a transform is safe code: remove `unsafe`",
        );
        errors.refuse(
            &signature.abi,
            "a transform is a Rust function: remove `extern`",
        );
        errors.refuse(&signature.variadic, "a transform has named arguments");
        for parameter in &signature.generics.params {
            if !matches!(parameter, GenericParam::Lifetime(_)) {
                errors.add(
                    parameter,
                    "a transform has one type for each argument: write it instead of this",
                );
            }
        }
        let arguments = signature
            .inputs
            .iter()
            .enumerate()
            .filter_map(|(index, argument)| {
                Argument::read(index, argument)
                    .map_err(|error| errors.0.push(error))
                    .ok()
            });
        let arguments = arguments.collect();
        let returned = match &signature.output {
            ReturnType::Type(_, returned) => {
                errors.0.extend(types::check(returned).err());
                infer_lifetimes(returned)
            }
            ReturnType::Default => {
                errors.add(
                    &signature.ident,
                    "a transform returns its output: add `-> f64` or another type",
                );
                Type::Verbatim(TokenStream::new())
            }
        };
        errors.finish()?;
        Ok(Self {
            function: function.clone(),
            output,
            arguments,
            returned,
        })
    }

    fn expand(&self) -> TokenStream {
        let (function, visibility) = (&self.function.sig.ident, &self.function.vis);
        let (describe, apply) = (self.describe(), self.apply());
        let named = self.output.as_ref().map(|name| self.check_single(name));
        quote! {
            #[doc(hidden)]
            #[allow(non_camel_case_types)]
            #visibility enum #function {}

            #[automatically_derived]
            const _: () = {
                use ::unskew_sdk::__private as sdk;

                #named

                impl ::unskew_sdk::TransformFunction for #function {
                    #describe
                    #apply
                }
            };
        }
    }

    fn describe(&self) -> TokenStream {
        let name = self.name();
        let documentation = documentation::text(&self.function.attrs);
        let output = self
            .output
            .as_ref()
            .map_or_else(|| name.clone(), LitStr::value);
        let returned = &self.returned;
        let (params, inputs): (Vec<_>, Vec<_>) = self
            .arguments
            .iter()
            .partition(|argument| argument.is_param);
        let (params, inputs) = (
            params.iter().map(|a| a.field()),
            inputs.iter().map(|a| a.field()),
        );
        quote! {
            fn describe() -> sdk::Function {
                sdk::Function {
                    name: sdk::ToOwned::to_owned(#name),
                    documentation: sdk::ToOwned::to_owned(#documentation),
                    params: sdk::vec![#(#params),*],
                    inputs: sdk::vec![#(#inputs),*],
                    outputs: <<#returned as ::unskew_sdk::Returned>::Outputs as ::unskew_sdk::Outputs>::fields(
                        #output,
                        #documentation,
                        <#returned as ::unskew_sdk::Returned>::NULLABLE,
                    ),
                }
            }
        }
    }

    fn apply(&self) -> TokenStream {
        let (function, name) = (&self.function.sig.ident, self.name());
        let returned = &self.returned;
        let params = self
            .arguments
            .iter()
            .filter(|argument| argument.is_param)
            .count();
        let inputs = self.arguments.len() - params;
        let opened = self.arguments.iter().map(Argument::open);
        let values = self.arguments.iter().map(Argument::value);
        quote! {
            fn apply(
                params: &[sdk::Column],
                batch: &sdk::Batch,
            ) -> ::core::result::Result<sdk::Outcome, sdk::Failure> {
                let mut call = sdk::Call::new(#name, (params, #params), (batch, #inputs))?;
                #(#opened)*
                call.run::<#returned>(|row| #function(#(#values),*))
            }
        }
    }

    /// Refuses `output = "…"` beside a struct, whose fields have names.
    fn check_single(&self, name: &LitStr) -> TokenStream {
        let returned = &self.returned;
        let message = "`output` names a single output; the fields of a struct are named already";
        let span = name.span();
        quote::quote_spanned! {span=>
            const _: () = assert!(
                !<<#returned as ::unskew_sdk::Returned>::Outputs as ::unskew_sdk::Outputs>::NAMED,
                #message
            );
        }
    }

    fn name(&self) -> String {
        self.function.sig.ident.unraw().to_string()
    }
}

impl Argument {
    fn read(index: usize, argument: &FnArg) -> Result<Self> {
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
            data_type: infer_lifetimes(&argument.ty),
            is_param,
            variable: format_ident!("argument_{index}"),
        })
    }

    fn role(&self) -> TokenStream {
        if self.is_param {
            quote!(::unskew_sdk::Param)
        } else {
            quote!(::unskew_sdk::Input)
        }
    }

    fn field(&self) -> TokenStream {
        let Self {
            name,
            documentation,
            data_type,
            ..
        } = self;
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

    fn open(&self) -> TokenStream {
        let Self {
            name,
            data_type,
            variable,
            ..
        } = self;
        let method = Ident::new(
            if self.is_param { "param" } else { "input" },
            Span::call_site(),
        );
        quote! { let #variable = call.#method::<#data_type>(#name)?; }
    }

    fn value(&self) -> TokenStream {
        let Self {
            data_type,
            variable,
            ..
        } = self;
        if self.is_param {
            quote!(::core::clone::Clone::clone(&#variable))
        } else {
            quote!(<#data_type as ::unskew_sdk::Input<'_>>::read(&#variable, row))
        }
    }
}

/// The type with its lifetimes, which are the function's own, left to inference.
fn infer_lifetimes(data_type: &Type) -> Type {
    let mut data_type = data_type.clone();
    visit(&mut data_type);
    data_type
}

fn visit(data_type: &mut Type) {
    match data_type {
        Type::Reference(reference) => {
            reference.lifetime.iter_mut().for_each(forget);
            visit(&mut reference.elem);
        }
        Type::Slice(slice) => visit(&mut slice.elem),
        Type::Paren(inner) => visit(&mut inner.elem),
        // A type that came through a macro by example.
        Type::Group(inner) => visit(&mut inner.elem),
        Type::Path(path) => {
            for segment in &mut path.path.segments {
                let PathArguments::AngleBracketed(arguments) = &mut segment.arguments else {
                    continue;
                };
                for argument in &mut arguments.args {
                    match argument {
                        GenericArgument::Lifetime(lifetime) => forget(lifetime),
                        GenericArgument::Type(inner) => visit(inner),
                        _ => {}
                    }
                }
            }
        }
        _ => {}
    }
}

fn forget(lifetime: &mut Lifetime) {
    if lifetime.ident != "static" {
        lifetime.ident = Ident::new("_", lifetime.ident.span());
    }
}

/// Errors in the order in which they were found, told all at once.
#[derive(Default)]
struct Errors(Vec<Error>);

impl Errors {
    fn add(&mut self, tokens: impl quote::ToTokens, message: &str) {
        self.0.push(Error::new_spanned(tokens, message));
    }

    fn refuse(&mut self, tokens: &Option<impl quote::ToTokens>, message: &str) {
        if let Some(tokens) = tokens {
            self.add(tokens, message);
        }
    }

    fn finish(self) -> Result<()> {
        let combined = self.0.into_iter().reduce(|mut all, error| {
            all.combine(error);
            all
        });
        combined.map_or(Ok(()), Err)
    }
}
