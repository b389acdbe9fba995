//! Doc comments.

use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// Whether the attribute is a line of a doc comment.
pub fn is_doc(attribute: &Attribute) -> bool {
    attribute.path().is_ident("doc")
}

/// The text of the doc comments among `attributes`, without the space that follows the slashes.
pub fn text(attributes: &[Attribute]) -> String {
    let lines: Vec<String> = attributes.iter().filter_map(line).collect();
    lines.join("\n").trim().to_owned()
}

fn line(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &pair.value else {
        return None;
    };
    let text = text.value();
    is_doc(attribute).then(|| text.strip_prefix(' ').unwrap_or(&text).to_owned())
}
