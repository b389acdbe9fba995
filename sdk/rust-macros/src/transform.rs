//! `#[transform]`.

use crate::argument::{self, Argument};
use crate::documentation;
use crate::lifetimes;
use crate::types;
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::Parser;
use syn::{Error, FnArg, GenericParam, ItemFn, LitStr, Result, ReturnType, Type};

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
        argument.attrs.retain(|attribute| {
            !argument::is_param(attribute) && !documentation::is_doc(attribute)
        });
    }
}

/// What the description and the loop are made from.
struct Signature {
    function: ItemFn,
    output: Option<LitStr>,
    arguments: Vec<Argument>,
    returned: Type,
}

impl Signature {
    fn read(function: &ItemFn, output: Option<LitStr>) -> Result<Self> {
        let signature = &function.sig;
        let mut errors = Errors::default();
        errors.refuse_qualifiers(signature);
        let mut arguments = Vec::new();
        for (index, argument) in signature.inputs.iter().enumerate() {
            match Argument::read(index, argument) {
                Ok(argument) => arguments.push(argument),
                Err(error) => errors.0.push(error),
            }
        }
        let returned = errors.finish(returned(signature))?;
        Ok(Self { function: function.clone(), output, arguments, returned })
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
        let output = self.output.as_ref().map_or_else(|| name.clone(), LitStr::value);
        let returned = &self.returned;
        let (params, inputs): (Vec<_>, Vec<_>) =
            self.arguments.iter().partition(|argument| argument.is_param);
        let (params, inputs) = (params.iter().map(|a| a.field()), inputs.iter().map(|a| a.field()));
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

    /// The loop. Its variables are of this macro alone: the function may have the name of one.
    fn apply(&self) -> TokenStream {
        let (function, name) = (&self.function.sig.ident, self.name());
        let returned = &self.returned;
        let params = self.arguments.iter().filter(|argument| argument.is_param).count();
        let wanted = self.arguments.iter().filter(|argument| !argument.is_param);
        let wanted = wanted.map(Argument::wanted);
        let opened = self.arguments.iter().map(Argument::open);
        let values = self.arguments.iter().map(Argument::value);
        quote_spanned! {Span::mixed_site()=>
            fn apply(
                params: &[sdk::Column],
                mut batch: sdk::Batch,
            ) -> ::core::result::Result<sdk::Outcome, sdk::Failure> {
                let mut call = sdk::Call::new::<#returned>(
                    #name,
                    (params, #params),
                    (&mut batch, &[#(#wanted),*]),
                )?;
                #(#opened)*
                call.run::<#returned>(move |row| #function(#(#values),*))
            }
        }
    }

    /// Refuses `output = "…"` beside a struct, whose fields have names.
    fn check_single(&self, name: &LitStr) -> TokenStream {
        let returned = &self.returned;
        let message = "`output` names a single output; the fields of a struct are named already";
        let span = name.span();
        quote_spanned! {span=>
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

/// The type that a function returns.
fn returned(signature: &syn::Signature) -> Result<Type> {
    let ReturnType::Type(_, returned) = &signature.output else {
        let message = "a transform returns its output: add `-> f64` or another type";
        return Err(Error::new_spanned(&signature.ident, message));
    };
    types::check(returned)?;
    Ok(lifetimes::infer(returned))
}

/// Errors in the order in which they were found, told all at once.
#[derive(Default)]
struct Errors(Vec<Error>);

impl Errors {
    fn refuse_qualifiers(&mut self, signature: &syn::Signature) {
        self.refuse(&signature.asyncness, "a transform waits for nothing: remove `async`");
        self.refuse(&signature.unsafety, "a transform is safe code: remove `unsafe`");
        self.refuse(&signature.abi, "a transform is a Rust function: remove `extern`");
        self.refuse(&signature.variadic, "a transform has named arguments");
        for parameter in &signature.generics.params {
            let lifetime = matches!(parameter, GenericParam::Lifetime(_));
            let refused = (!lifetime).then_some(parameter);
            self.refuse(
                &refused,
                "a transform has one type for each argument: write it instead of this",
            );
        }
    }

    fn refuse(&mut self, tokens: &Option<impl ToTokens>, message: &str) {
        self.0.extend(tokens.as_ref().map(|tokens| Error::new_spanned(tokens, message)));
    }

    /// The last result, if no error was found before it either.
    fn finish<T>(self, last: Result<T>) -> Result<T> {
        let earlier = self.0.into_iter().reduce(|mut all, error| {
            all.combine(error);
            all
        });
        match (earlier, last) {
            (None, last) => last,
            (Some(earlier), Ok(_)) => Err(earlier),
            (Some(mut earlier), Err(error)) => {
                earlier.combine(error);
                Err(earlier)
            }
        }
    }
}
