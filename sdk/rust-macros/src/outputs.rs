//! `#[derive(Outputs)]`.

use crate::documentation;
use crate::types;
use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Field, Fields, GenericParam, Result};

pub fn expand(item: TokenStream) -> Result<TokenStream> {
    let item: DeriveInput = syn::parse2(item)?;
    let fields = named_fields(&item)?;
    check_generics(&item)?;
    fields.iter().try_for_each(|field| types::check(&field.ty))?;

    let idents: Vec<_> = fields.iter().filter_map(|field| field.ident.as_ref()).collect();
    let names = idents.iter().map(|ident| ident.unraw().to_string());
    let documentation = fields.iter().map(|field| documentation::text(&field.attrs));
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let writers: Vec<_> = (0..fields.len()).map(|index| format_ident!("writer_{index}")).collect();
    let (name, (generics, arguments, bounds)) = (&item.ident, item.generics.split_for_impl());

    Ok(quote! {
        #[automatically_derived]
        const _: () = {
            use ::unskew_sdk::__private as sdk;

            impl #generics ::unskew_sdk::Outputs for #name #arguments #bounds {
                const NAMED: bool = true;
                const FIXED_WIDTH: bool = true #(
                    && <<#types as ::unskew_sdk::OutputField>::Value as sdk::OutputValue>::FIXED_WIDTH
                )*;
                type Writers =
                    (#(sdk::ColumnWriter<<#types as ::unskew_sdk::OutputField>::Value>,)*);

                fn fields(_: &str, _: &str, nullable: bool) -> sdk::Vec<sdk::Field> {
                    sdk::vec![#(
                        sdk::ColumnWriter::<<#types as ::unskew_sdk::OutputField>::Value>::field(
                            #names,
                            #documentation,
                            nullable || <#types as ::unskew_sdk::OutputField>::NULLABLE,
                        ),
                    )*]
                }

                #[inline]
                fn writers(room: sdk::Room) -> Self::Writers {
                    (#(
                        sdk::ColumnWriter::<<#types as ::unskew_sdk::OutputField>::Value>::new(room),
                    )*)
                }

                #[inline]
                fn put(self, (#(#writers,)*): &mut Self::Writers, row: usize) {
                    #(#writers.put(row, self.#idents);)*
                }

                #[inline]
                fn put_null((#(#writers,)*): &mut Self::Writers, row: usize) {
                    #(#writers.put_null(row);)*
                }

                fn keep((#(#writers,)*): &mut Self::Writers, rows: &[u64]) {
                    #(#writers.keep(rows);)*
                }

                fn columns(
                    (#(#writers,)*): Self::Writers,
                ) -> ::core::result::Result<sdk::Vec<sdk::Column>, sdk::String> {
                    ::core::result::Result::Ok(sdk::vec![#(#writers.finish()?),*])
                }
            }
        };
    })
}

fn named_fields(item: &DeriveInput) -> Result<Vec<&Field>> {
    if let Data::Struct(data) = &item.data
        && let Fields::Named(fields) = &data.fields
        && !fields.named.is_empty()
    {
        return Ok(fields.named.iter().collect());
    }
    let message = "outputs are the named fields of a struct: `struct Name { output: f64, … }`";
    Err(Error::new_spanned(&item.ident, message))
}

/// Lifetimes are welcome: a field may borrow from an argument.
fn check_generics(item: &DeriveInput) -> Result<()> {
    match item.generics.params.iter().find(|param| !matches!(param, GenericParam::Lifetime(_))) {
        None => Ok(()),
        Some(param) => {
            Err(Error::new_spanned(param, "outputs have one type each: write it instead of this"))
        }
    }
}
