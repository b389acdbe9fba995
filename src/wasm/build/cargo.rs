//! Cargo as a child process.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Context as _, Error, Result};

const TARGET: &str = "wasm32-unknown-unknown";

/// Settings of a profile of our own, so that those of the workspace do not matter.
const PROFILE: [(&str, &str); 10] = [
    ("inherits", "\"release\""),
    ("opt-level", "3"),
    ("lto", "\"fat\""),
    ("codegen-units", "1"),
    ("panic", "\"abort\""),
    ("strip", "true"),
    ("debug", "false"),
    ("debug-assertions", "false"),
    ("incremental", "false"),
    // An integer that does not fit fails instead of wrapping: a rule of the contract on values.
    ("overflow-checks", "true"),
];

/// Settings of LLVM. In a component every call looks at the clock and for the end of the stack, and
/// every turn of a loop looks at the clock; LLVM knows of neither. So more is inlined, and there is
/// more to a turn of a loop, also where it can end in several ways, as with every check of an index.
const LLVM: [&str; 4] = [
    "-inline-threshold=2000",
    "-force-vector-interleave=2",
    "-unroll-runtime",
    "-unroll-runtime-multi-exit",
];

/// Bytes of heap that an instance begins with: what 8,192 rows of short texts take, in and out.
const INITIAL_HEAP: u32 = 1 << 20;

/// Variables that say where cargo keeps and gets things, without a say in what it makes.
const KEPT: [&str; 6] =
    ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_TARGET_DIR", "CARGO_TERM_"];

/// Cargo in the folder of a crate.
pub(super) struct Cargo {
    folder: PathBuf,
    locked: bool,
    metadata: Metadata,
}

/// As much of `cargo metadata` as a build needs.
#[derive(Default, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
    workspace_root: PathBuf,
}

/// A package, as cargo describes it.
#[derive(Debug, Deserialize)]
pub(super) struct Package {
    id: String,
    pub(super) name: String,
    pub(super) version: semver::Version,
    pub(super) metadata: Value,
    manifest_path: PathBuf,
    /// `None` for a package in a folder; a registry or a repository otherwise.
    source: Option<String>,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

/// A message of `cargo build`.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    package_id: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

impl Package {
    pub(super) fn is_cdylib(&self) -> bool {
        let mut types = self.targets.iter().flat_map(|target| &target.crate_types);
        types.any(|crate_type| crate_type == "cdylib")
    }
}

/// The folder of a crate, from the root.
///
/// # Errors
/// [`Kind::NotFound`](crate::error::Kind::NotFound) when there is no crate in it.
pub fn crate_folder(folder: &Path) -> Result<PathBuf> {
    let missing = || format!("no crate in {}", folder.display());
    let folder = folder.canonicalize().context(missing)?;
    match folder.join("Cargo.toml").is_file() {
        true => Ok(folder),
        false => Err(Error::not_found(missing()).with_hint("a crate's folder has a Cargo.toml")),
    }
}

impl Cargo {
    /// Reads what cargo knows about the crate in this folder.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let folder = crate_folder(folder)?;
        let mut locate = child("cargo", &folder);
        locate.args(["locate-project", "--workspace", "--message-format=plain"]);
        let locked = Path::new(&text(run(locate)?)).with_file_name("Cargo.lock").is_file();
        let mut cargo = Self { folder, locked, metadata: Metadata::default() };
        let mut command = cargo.command("metadata");
        command.args(["--format-version=1", "--filter-platform", TARGET]);
        cargo.metadata = serde_json::from_slice(&run(command)?)
            .map_err(|error| Error::internal(format!("cannot read cargo's metadata: {error}")))?;
        Ok(cargo)
    }

    /// A command of cargo that takes the lock file as it is, where there is one.
    fn command(&self, name: &str) -> Command {
        let mut command = child("cargo", &self.folder);
        command.arg(name);
        if self.locked {
            command.arg("--locked");
        }
        command
    }

    /// The crate of the folder.
    pub(super) fn package(&self) -> Result<&Package> {
        let manifest = self.folder.join("Cargo.toml");
        let packages = &self.metadata.packages;
        packages.iter().find(|package| package.manifest_path == manifest).ok_or_else(|| {
            Error::invalid(format!("{} is a workspace, not a crate", self.folder.display()))
                .with_hint("name the folder of one of its crates")
        })
    }

    /// Adds the compiler target where it is missing.
    pub(super) fn ensure_target(&self) -> Result<()> {
        let mut rustc = child("rustc", &self.folder);
        rustc.args(["--print=target-libdir", "--target", TARGET]);
        let libraries = text(run(rustc)?);
        if Path::new(&libraries).is_dir() {
            return Ok(());
        }
        let mut rustup = child("rustup", &self.folder);
        rustup.args(["target", "add", TARGET]);
        run(rustup).map(drop).map_err(|error| {
            Error::not_found(format!(
                "this Rust cannot compile for {TARGET}, and the target cannot be added: {}",
                error.message()
            ))
            .with_hint(format!(
                "install rustup and run `rustup target add {TARGET}`, \
                 or install your system's package of that target"
            ))
        })
    }

    /// Compiles a package of the folder to a core module.
    pub(super) fn compile(&self, package: &Package) -> Result<Vec<u8>> {
        let mut command = self.command("build");
        command.args(["--lib", "--message-format=json-render-diagnostics"]);
        command.args(["--target", TARGET, "--profile=transform", "--target-dir"]);
        command.arg(self.target_folder());
        for (setting, value) in PROFILE {
            command.arg(format!("--config=profile.transform.{setting}={value}"));
        }
        command.env("CARGO_ENCODED_RUSTFLAGS", self.compiler_flags()?);
        let output = run(command)
            .map_err(|error| error.context(format!("crate \"{}\" is not built", package.name)))?;
        let artifact = artifact(&output, &package.id).ok_or_else(|| {
            Error::internal(format!("cargo built no module of crate \"{}\"", package.name))
        })?;
        fs::read(&artifact).context(|| format!("cannot read {}", artifact.display()))
    }

    /// Apart from the workspace's own: another cargo may hold that one's lock, and wait for us.
    fn target_folder(&self) -> PathBuf {
        self.metadata.target_directory.join("unskew-transforms")
    }

    /// LLVM vectorizes for SIMD, which Cranelift does not do later. Memory begins with a heap that
    /// many batches fit into: growing it changes the process's address space, which takes
    /// longer than some functions. And no path of this machine gets into the module; of two
    /// prefixes that fit, the later counts.
    fn compiler_flags(&self) -> Result<OsString> {
        let mut flags = OsString::from("-Ctarget-feature=+simd128");
        for flag in LLVM {
            flags.push("\u{1f}-Cllvm-args=");
            flags.push(flag);
        }
        flags.push(format!("\u{1f}-Clink-arg=--initial-heap={INITIAL_HEAP}"));
        for (from, to) in self.path_prefixes()? {
            flags.push("\u{1f}--remap-path-prefix=");
            flags.push(from);
            flags.push("=");
            flags.push(to);
        }
        Ok(flags)
    }

    fn path_prefixes(&self) -> Result<Vec<(PathBuf, String)>> {
        let mut prefixes = vec![self.standard_library()?];
        for package in &self.metadata.packages {
            let folder = package.manifest_path.parent().unwrap_or(&package.manifest_path);
            let parent = folder.parent().unwrap_or(folder);
            prefixes.push(match package.source {
                Some(_) => (parent.to_owned(), "/registry".to_owned()),
                None => (folder.to_owned(), format!("/crates/{}", package.name)),
            });
        }
        prefixes.push((self.target_folder(), "/target".to_owned()));
        prefixes.push((self.metadata.workspace_root.clone(), "/workspace".to_owned()));
        prefixes.dedup();
        Ok(prefixes)
    }

    /// The sources of the standard library, where they are installed, under the name they have
    /// where they are not.
    fn standard_library(&self) -> Result<(PathBuf, String)> {
        let mut rustc = child("rustc", &self.folder);
        rustc.arg("--print=sysroot");
        let sources = Path::new(&text(run(rustc)?)).join("lib/rustlib/src/rust");
        let mut rustc = child("rustc", &self.folder);
        rustc.arg("-vV");
        let version = text(run(rustc)?);
        let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
        Ok((sources, format!("/rustc/{}", commit.unwrap_or("unknown"))))
    }
}

/// A tool in a folder, told nothing by the environment that could change what it makes: the
/// toolchain, for one, is that of the folder, also below another cargo.
fn child(tool: &str, folder: &Path) -> Command {
    let mut command = Command::new(tool);
    command.current_dir(folder).stdin(Stdio::null()).stderr(Stdio::inherit());
    for (name, _) in env::vars_os().filter(|(name, _)| steers_a_build(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command
}

fn steers_a_build(variable: &str) -> bool {
    let ours = ["CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN"];
    ours.iter().any(|prefix| variable.starts_with(prefix))
        && !KEPT.iter().any(|prefix| variable.starts_with(prefix))
}

/// What a tool wrote to stdout, once it has ended well.
fn run(mut command: Command) -> Result<Vec<u8>> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::not_found(format!("{tool} is not installed"))
            .with_hint("a transform in Rust is built with Rust's own tools: https://rustup.rs"),
        _ => Error::from(error).context(format!("cannot run {tool}")),
    })?;
    let Output { status, stdout, .. } = output;
    match status.success() {
        true => Ok(stdout),
        false => Err(Error::invalid(format!("{tool} failed; it has said why above"))),
    }
}

fn text(output: Vec<u8>) -> String {
    String::from_utf8_lossy(&output).trim().to_owned()
}

/// The module among the files that cargo names.
fn artifact(messages: &[u8], package: &str) -> Option<PathBuf> {
    let messages = messages.split(|byte| *byte == b'\n');
    let messages = messages.filter_map(|line| serde_json::from_slice::<Message>(line).ok());
    let files = messages.filter(|message| message.package_id == package);
    files
        .flat_map(|message| message.filenames)
        .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
}

#[cfg(test)]
impl Package {
    /// A package with nothing but a name, a version and metadata.
    pub(super) fn of_metadata(metadata: Value) -> Self {
        Self {
            id: String::new(),
            name: "some-crate".to_owned(),
            version: semver::Version::new(1, 2, 0),
            metadata,
            manifest_path: PathBuf::new(),
            source: None,
            targets: vec![],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_change_a_build_are_left_out() {
        let variables = [
            ("RUSTFLAGS", true),
            ("CARGO_ENCODED_RUSTFLAGS", true),
            ("CARGO_BUILD_RUSTC_WRAPPER", true),
            ("CARGO_PROFILE_RELEASE_LTO", true),
            ("CARGO_MANIFEST_DIR", true),
            ("RUSTC_WRAPPER", true),
            ("RUSTUP_TOOLCHAIN", true),
            ("CARGO_HOME", false),
            ("CARGO_NET_OFFLINE", false),
            ("CARGO_REGISTRIES_OURS_TOKEN", false),
            ("CARGO_TARGET_DIR", false),
            ("RUSTUP_HOME", false),
            ("PATH", false),
        ];
        for (variable, steers) in variables {
            assert_eq!(steers_a_build(variable), steers, "{variable}");
        }
    }

    #[test]
    fn the_module_of_the_package_is_found_among_the_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","package_id":"dep","filenames":["/t/dep.wasm"]}"#,
            "\n",
            r#"{"reason":"compiler-artifact","package_id":"own","filenames":["/t/own.rlib","/t/own.wasm"]}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
            "\n",
        );
        assert_eq!(artifact(messages.as_bytes(), "own"), Some(PathBuf::from("/t/own.wasm")));
        assert_eq!(artifact(messages.as_bytes(), "other"), None);
    }

    #[test]
    fn a_folder_without_a_crate_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        let error = Cargo::of(&path).err().unwrap().to_string();
        let expected =
            format!("no crate in {}\nhint: a crate's folder has a Cargo.toml", path.display());
        assert_eq!(error, expected);
    }
}
