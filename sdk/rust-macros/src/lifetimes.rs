//! Lifetimes, which belong to the author's function and are not known outside of it.

use syn::{GenericArgument, Ident, Lifetime, PathArguments, Type};

/// The type with its lifetimes, which are the function's own, left to inference.
pub fn infer(data_type: &Type) -> Type {
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
