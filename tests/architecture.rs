//! Who may import whom, and which module alone knows which library.
//!
//! The tables below are the rules, each with its reason; the test reads `src/**/*.rs` as text and
//! names every line that breaks one. Test modules are exempt: a test may use what it likes.

use std::{collections::BTreeSet, fmt, fs, ops::Range, path::Path};

/// The modules, the deepest first. A module imports modules of the lines above its own in this
/// table, and neither its peers on the line nor anything below.
const LAYERS: &[(&[&str], &str)] = &[
    (&["error"], "an error is told in text, so it needs no other module"),
    (&["digest"], "everything that never changes is named by its bytes alone"),
    (&["name"], "names are text with a rule"),
    (&["time"], "moments are numbers with a rule"),
    (&["metrics"], "whoever measures names what it measures: a list that needs nothing"),
    (&["value"], "types and values are the same on every path, so they know no path"),
    (&["definition"], "what users declare is checked and compared without I/O: it is handed in"),
    (&["storage"], "a path or a URL, whoever reads or writes it: the settings are handed in"),
    (
        &["wasm", "online", "registry"],
        "sandbox, store and registry can each be replaced without the others noticing",
    ),
    (
        &["evaluate", "publish"],
        "the one door to a guest, so that all paths compute alike; and the check before it, which \
         calls guests as no path does",
    ),
    (&["offline"], "training datasets need no online store"),
    (
        &["materialize", "serve"],
        "writer and reader meet in the online store's contract and nowhere else",
    ),
    (
        &["audit", "catalog", "diff", "freshness"],
        "watchers look on; nothing that computes a value depends on them",
    ),
    (&["server"], "HTTP turns answers into responses and decides nothing about values"),
    (&["config"], "settings are read once, by whoever puts the project together"),
    (&["app"], "one place puts a project together"),
    (&["cli"], "the command line is the outermost: nothing can depend on it"),
];

/// Libraries, and the only places that may name them.
const QUARANTINES: &[(&[&str], &[&str], &str)] = &[
    (
        &["wasmtime", "wasmparser", "wit_component"],
        &["wasm"],
        "the sandbox is judged by reading one folder",
    ),
    (
        &["datafusion", "deltalake_core"],
        &["offline"],
        "the engine of the offline path can be replaced",
    ),
    (&["prometheus"], &["metrics"], "every metric is in one list"),
    (&["heed", "redis", "rustls"], &["online"], "an online store is known by its contract alone"),
    (
        &["axum", "tower", "tower_http", "hyper", "hyper_util", "utoipa", "utoipa_axum"],
        &["server"],
        "answers are made without HTTP",
    ),
    (
        &["object_store"],
        &["storage", "registry", "offline"],
        "the other modules see no storage, only what is in it",
    ),
    (&["clap", "indicatif", "comfy_table"], &["cli"], "a library does not print"),
    (
        &["reqwest"],
        &["cli", "freshness"],
        "no path of a value calls out over the network; alerts are no values",
    ),
];

/// Modules without I/O, which follow from what is handed in alone.
const PURE: &[&str] = &["error", "digest", "name", "value", "definition", "catalog"];

/// Where I/O would come from: libraries, and modules of the standard library.
const IO: (&[&str], &[&str]) =
    (&["tokio", "reqwest", "tempfile"], &["env", "fs", "net", "process", "thread"]);

/// A line that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    path: String,
    line: usize,
    message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{}: {}", self.path, self.line, self.message)
    }
}

#[test]
fn the_source_keeps_the_rules() {
    let mut files = Vec::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
    let broken = check(&files).into_iter().map(|violation| violation.to_string());
    let broken: Vec<String> = broken.chain(missing(&files)).collect();
    assert!(broken.is_empty(), "{} broken rules:\n{}", broken.len(), broken.join("\n"));
}

/// The modules in the table that are not in `src`: a table that is out of date is no documentation.
fn missing(files: &[(String, String)]) -> impl Iterator<Item = String> {
    let there: BTreeSet<&str> = files.iter().map(|(path, _)| top(path)).collect();
    let named = LAYERS.iter().flat_map(|(names, _)| names.iter());
    named
        .filter(move |name| !there.contains(*name))
        .map(|name| format!("there is no module {name}"))
}

/// The files under a folder, with their paths from `src`.
fn read(folder: &Path, prefix: &str, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the entry can be read").path();
        let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        if path.is_dir() {
            read(&path, &format!("{prefix}{name}/"), files);
        } else if name.ends_with(".rs") {
            files.push((format!("{prefix}{name}"), fs::read_to_string(&path).expect("it is text")));
        }
    }
}

/// Every line of the files that breaks a rule.
fn check(files: &[(String, String)]) -> Vec<Violation> {
    let files = files.iter().map(|(path, text)| (path.as_str(), code(text)));
    let files: Vec<(&str, String)> = files.collect();
    let tests: Vec<String> = files.iter().flat_map(|(path, code)| test_files(path, code)).collect();
    let is_test = |path: &str| {
        tests
            .iter()
            .any(|test| path == format!("{test}.rs") || path.starts_with(&format!("{test}/")))
    };
    let mut violations = BTreeSet::new();
    for (path, code) in files.iter().filter(|(path, _)| !is_test(path)) {
        let code = without_tests(code);
        let mut add = |at: usize, message: String| {
            let line = code[..at].matches('\n').count() + 1;
            violations.insert(Violation { path: (*path).to_owned(), line, message });
        };
        let module = top(path);
        if !["lib", "main"].contains(&module) {
            check_imports(module, path, &code, &mut add);
        }
        check_libraries(module, &code, &mut add);
    }
    violations.into_iter().collect()
}

fn check_imports(module: &str, path: &str, code: &str, add: &mut impl FnMut(usize, String)) {
    let layer = |name: &str| LAYERS.iter().position(|(names, _)| names.contains(&name));
    let Some(own) = layer(module) else {
        return add(0, format!("module {module} is not in the table of layers"));
    };
    for (at, imported) in crate_imports(path, code) {
        if layer(imported).is_some_and(|layer| layer >= own) && imported != module {
            add(at, format!("{module} imports {imported}; {}", LAYERS[own].1));
        }
    }
}

fn check_libraries(module: &str, code: &str, add: &mut impl FnMut(usize, String)) {
    for (libraries, owners, why) in QUARANTINES {
        for (at, library) in words(code).filter(|(_, word)| libraries.contains(word)) {
            if !owners.contains(&module) {
                add(at, format!("{module} names {library}; {why}"));
            }
        }
    }
    if PURE.contains(&module) {
        let libraries = words(code).filter(|(_, word)| IO.0.contains(word));
        let std = after(code, "std").into_iter().filter(|(_, word)| IO.1.contains(word));
        for (at, name) in libraries.chain(std) {
            add(at, format!("{module} names {name}; it has no I/O: what it needs is handed in"));
        }
    }
}

/// The module of the crate's root that a file belongs to.
fn top(path: &str) -> &str {
    let first = path.split('/').next().unwrap_or(path);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// The modules of the crate's root that are imported, and where.
fn crate_imports<'a>(path: &str, code: &'a str) -> Vec<(usize, &'a str)> {
    let file = path.strip_suffix("/mod.rs").or(path.strip_suffix(".rs")).unwrap_or(path);
    let depth = file.split('/').count();
    let root = vec!["super"; depth].join("::");
    let mut imports = after(code, "crate");
    imports.extend(after(code, &root));
    imports
}

/// What stands behind `root::`: one name, or the first names of all in braces.
fn after<'a>(code: &'a str, root: &str) -> Vec<(usize, &'a str)> {
    let prefix = format!("{root}::");
    let mut found = Vec::new();
    for (at, _) in code.match_indices(&prefix) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|before| is_word(before) || before == ':') {
            continue;
        }
        let start = at + prefix.len();
        match code[start..].starts_with('{') {
            true => found.extend(group(code, start)),
            false => {
                found.extend(words(&code[start..]).next().map(|(skip, word)| (start + skip, word)))
            }
        }
    }
    found
}

/// The first names of the paths in the braces that open at `start`.
fn group(code: &str, start: usize) -> Vec<(usize, &str)> {
    let end = closing(code, start);
    let mut found = Vec::new();
    let (mut depth, mut expected) = (0, false);
    for (at, character) in code[start..end].char_indices().map(|(at, c)| (start + at, c)) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if expected && is_word(character) {
            found.extend(words(&code[at..]).next().map(|(_, word)| (at, word)));
            expected = false;
        }
        expected |= depth == 1 && (character == ',' || character == '{');
    }
    found
}

/// The end of the braces that open at `start`, behind the closing one.
fn closing(code: &str, start: usize) -> usize {
    let mut depth = 0;
    for (at, character) in code[start..].char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 1 => return start + at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The items that are compiled for tests alone: where they are, from the attribute on.
fn test_items(code: &str) -> impl Iterator<Item = Range<usize>> {
    code.match_indices("#[cfg(test)]").map(|(start, _)| {
        let item = code[start..].find(['{', ';']).map_or(code.len(), |at| start + at);
        match code[item..].starts_with('{') {
            true => start..closing(code, item),
            false => start..(item + 1).min(code.len()),
        }
    })
}

/// The files of modules that a file declares for tests alone, without `.rs`.
fn test_files(path: &str, code: &str) -> Vec<String> {
    let folder = match path.rsplit_once('/') {
        Some((folder, "mod.rs")) => format!("{folder}/"),
        None if ["lib.rs", "main.rs"].contains(&path) => String::new(),
        _ => format!("{}/", path.trim_end_matches(".rs")),
    };
    let declared = test_items(code).filter(|item| code[item.clone()].ends_with(';'));
    let modules = declared.filter_map(|item| {
        let mut words = words(&code[item]).map(|(_, word)| word);
        words.find(|word| *word == "mod")?;
        words.next().map(str::to_owned)
    });
    modules.map(|module| format!("{folder}{module}")).collect()
}

/// The code with blanks for what is compiled for tests alone.
fn without_tests(code: &str) -> String {
    let mut blanked = code.to_owned();
    for item in test_items(code) {
        blanked.replace_range(item.clone(), &blank(&code[item]));
    }
    blanked
}

/// The code with blanks for comments and for what is in quotes; every line stays in its place.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => quoted(rest),
            'r' | 'b' | 'c' if !out.ends_with(is_word) => literal_prefix(rest),
            '\'' => character(rest),
            _ => 0,
        };
        match skipped {
            0 => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
            _ => {
                out.push_str(&blank(&rest[..skipped]));
                rest = &rest[skipped..];
            }
        }
    }
    out
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    for (at, _) in text.char_indices() {
        match &text[at..] {
            rest if rest.starts_with("/*") => depth += 1,
            rest if rest.starts_with("*/") && depth == 1 => return at + 2,
            rest if rest.starts_with("*/") => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the string that `text` begins with, quotes included.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the raw or byte string that `text` begins with; 0 where it is a word.
fn literal_prefix(text: &str) -> usize {
    let prefix = text.len() - text.trim_start_matches(['b', 'c']).len();
    let Some(raw) = text[prefix..].strip_prefix('r') else {
        return match text[prefix..].starts_with('"') && prefix == 1 {
            true => prefix + quoted(&text[prefix..]),
            false => 0,
        };
    };
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    if prefix > 1 || !raw[hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let open = prefix + 1 + hashes + 1;
    text[open..].find(&end).map_or(text.len(), |at| open + at + end.len())
}

/// The length of the character that `text` begins with; 0 where it is a lifetime.
fn character(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some((escaped, _))) => {
            let behind = escaped + 1;
            text[behind..].find('\'').map_or(text.len(), |at| behind + at + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

fn blank(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The words of the code, and where they are.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.split(|character| !is_word(character))
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr() as usize - code.as_ptr() as usize, word))
}

/// The scanner, on made-up sources.
mod scanner {
    use super::*;

    /// Checks one file; each violation as `line: message` up to the reason.
    fn broken(path: &str, text: &str) -> Vec<String> {
        broken_in(&[(path, text)])
    }

    fn broken_in(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let shown = |violation: &Violation| {
            let message = violation.message.split(';').next().unwrap_or_default();
            format!("{}: {message}", violation.line)
        };
        check(&files).iter().map(shown).collect()
    }

    #[test]
    fn upward_and_sideways_imports_are_found_in_every_form() {
        for text in [
            "use crate::serve;",
            "use crate::serve::FeatureServer;",
            "use crate::{\n    error::{Error, Result}, serve::Answer };",
            "pub(crate) use crate::{serve};",
            "fn f() { crate::serve::answer() }",
            "use super::super::serve;",
            "macro_rules! m { () => { $crate::serve::x } }",
        ] {
            let line = 1 + usize::from(text.contains('\n'));
            let expected = format!("{line}: materialize imports serve");
            assert_eq!(broken("materialize/writer.rs", text), [expected], "{text}");
        }
        assert_eq!(broken("serve.rs", "use super::server;"), ["1: serve imports server"]);
        assert_eq!(broken("name.rs", "use crate::time;"), ["1: name imports time"]);
    }

    #[test]
    fn downward_and_own_imports_are_allowed() {
        for text in [
            "use crate::{error::{Error, serve}, online, offline::Rows};",
            "use crate::materialize::writer;",
            "use super::serve;",
            "use super::{serve};",
            "use other::serve; use notcrate::serve;",
        ] {
            assert_eq!(broken("materialize/writer.rs", text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_module_that_is_not_in_the_table_is_found() {
        let expected = ["1: module helpers is not in the table of layers"];
        assert_eq!(broken("helpers/mod.rs", ""), expected);
    }

    #[test]
    fn libraries_are_found_outside_their_folders() {
        for text in ["use wasmtime::Engine;", "use {wasmtime as w};", "type E = wasmtime::Engine;"]
        {
            assert_eq!(broken("serve/mod.rs", text), ["1: serve names wasmtime"], "{text}");
            assert_eq!(broken("wasm/engine.rs", text), [""; 0], "{text}");
        }
        assert_eq!(broken("main.rs", "use datafusion::sql;"), ["1: main names datafusion"]);
        assert_eq!(
            broken("catalog/text.rs", "comfy_table::Table"),
            ["1: catalog names comfy_table"]
        );
    }

    #[test]
    fn pure_modules_do_no_input_or_output() {
        for text in ["use std::{fmt, fs::File};", "std::fs::read(path)", "use std::fs;"] {
            assert_eq!(broken("definition/mod.rs", text), ["1: definition names fs"], "{text}");
        }
        assert_eq!(broken("definition/mod.rs", "use std::{fmt, collections::BTreeMap};"), [""; 0]);
        assert_eq!(broken("config.rs", "use std::fs;"), [""; 0]);
    }

    #[test]
    fn comments_and_texts_are_passed_over() {
        let text = r###"
            // use crate::serve;
            /* use crate::serve; /* wasmtime */ wasmtime */
            /// See [`crate::serve`] and `datafusion`.
            const A: &str = "crate::serve \" wasmtime";
            const B: &str = r#"crate::serve " wasmtime"#;
            const C: &[u8] = b"wasmtime";
            const D: (char, char, char) = ('"', '\'', '\u{1F600}');
            fn f<'a>(x: &'a str) -> &'a str { x }
            use crate::server;
        "###;
        assert_eq!(broken("materialize/mod.rs", text), ["10: materialize imports server"]);
    }

    #[test]
    fn tests_may_import_what_they_like() {
        let text = "
            #[cfg(test)]
            use crate::cli;
            #[cfg(test)]
            mod tests {
                use crate::{serve, cli};
                fn f() { if true { wasmtime::x() } }
            }
            use crate::app;
        ";
        assert_eq!(broken("materialize/mod.rs", text), ["9: materialize imports app"]);
    }

    #[test]
    fn files_of_test_modules_are_tests() {
        let check = |declaration: &str, expected: &[&str]| {
            let files = [
                ("serve/mod.rs", declaration),
                ("serve/testing.rs", "use crate::cli;"),
                ("serve/testing/deep.rs", "use crate::cli;"),
            ];
            assert_eq!(broken_in(&files), expected, "{declaration}");
        };
        check("#[cfg(test)]\npub(crate) mod testing;", &[]);
        check("mod testing;", &["1: serve imports cli", "1: serve imports cli"]);
        let nested =
            [("value.rs", "#[cfg(test)] mod testing;"), ("value/testing.rs", "crate::cli")];
        assert_eq!(broken_in(&nested), [""; 0]);
    }
}
