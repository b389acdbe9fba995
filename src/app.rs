//! A project, put together: its settings, registry, runtime, store and sources.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    config::{self, Config, FILE},
    definition::{
        About, Column, Environment, File, LOCK_FILE, PinnedTransform, Problem, Source, SourceData,
        State, Visible, check, parse, read_lock, write_lock,
    },
    digest::Digest,
    error::{Context, Error, Kind, Result},
    evaluate::InForce,
    freshness::Monitor,
    name::TransformName,
    offline::{Places, Resources, Sources, session},
    online::{EmbeddedOptions, EmbeddedStore, OnlineStore, RedisStore, Stores, UnopenedStore},
    registry::{Registry, Snapshot},
    storage::{Draft, Location, Storage},
    value::DataType,
    wasm::{Limits, Runtime},
};

/// A project on this machine.
#[derive(Debug, Clone)]
pub struct App {
    /// Its folder.
    pub root: PathBuf,
    /// Its settings.
    pub config: Config,
    /// The way to files and objects.
    pub storage: Storage,
}

/// What the definition files come to.
#[derive(Debug)]
pub enum Declared {
    /// The definitions, checked and pinned.
    Good(State),
    /// Everything that is wrong with them.
    Bad(Vec<Problem>),
}

impl App {
    /// The project in `folder`, or in the nearest folder upward from here.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] where there is no project, and those of [`Config::read`].
    pub fn find(folder: Option<&Path>) -> Result<Self> {
        let root = match folder {
            Some(folder) => folder.to_owned(),
            None => nearest(&env::current_dir()?)?,
        };
        let config = Config::read(&root)?;
        Ok(Self { storage: Storage::new(config.storage.clone()), config, root })
    }

    /// The registry.
    ///
    /// # Errors
    /// Those of [`Registry::at`], and of a URL that cannot be used.
    pub fn registry(&self) -> Result<Registry> {
        let location = Location::parse(&self.config.project.registry, &self.root)?;
        Registry::at(&location, &self.storage)
    }

    /// The runtime, with the compiled code of earlier runs where there is a folder to keep it in.
    ///
    /// # Errors
    /// Those of [`Runtime::new`], but for a folder that cannot be used.
    pub fn runtime(&self) -> Result<Runtime> {
        runtime(&self.config.limits)
    }

    /// The online stores. One that is there and cannot be opened (its disk fails, its files are
    /// damaged) answers with the reason, so that the views in the others do not suffer from it.
    ///
    /// # Errors
    /// [`Kind::Invalid`] where the settings of a store are wrong.
    pub fn stores(&self) -> Result<Stores> {
        let named = self.config.stores.iter();
        let named = named.map(|(name, store)| {
            let opened = self.open(store).context(|| format!("online store {name}"))?;
            Ok((name.clone(), opened))
        });
        Ok(Stores::new(self.open(&self.config.online)?, named.collect::<Result<_>>()?))
    }

    fn open(&self, store: &config::Store) -> Result<Arc<dyn OnlineStore>> {
        let path = match store {
            config::Store::Embedded(path) => self.root.join(path),
            config::Store::Redis(settings) => {
                let options = settings.options(&self.root, |name| env::var(name).ok())?;
                return Ok(Arc::new(RedisStore::new(options)?));
            }
        };
        match EmbeddedStore::open(&path, EmbeddedOptions::default()) {
            Ok(store) => Ok(Arc::new(store)),
            Err(error) if error.kind() == Kind::Invalid => Err(error),
            Err(error) => {
                tracing::warn!(%error, "an online store cannot be opened");
                Ok(Arc::new(UnopenedStore(error)))
            }
        }
    }

    /// What looks at how fresh views are.
    ///
    /// # Errors
    /// Those of [`App::stores`] and of [`App::registry`].
    pub fn monitor(&self) -> Result<Monitor> {
        Ok(Monitor { stores: self.stores()?, registry: self.registry()? })
    }

    /// What is in force now.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] before the first `apply`, and those of
    /// [`InForce::load`].
    pub async fn in_force(&self) -> Result<InForce> {
        self.in_force_in(&self.runtime()?, &self.registry()?).await
    }

    /// As [`App::in_force`], in a runtime and from a registry that go on being used.
    ///
    /// # Errors
    /// Those of [`App::in_force`].
    pub async fn in_force_in(&self, runtime: &Runtime, registry: &Registry) -> Result<InForce> {
        let newest = registry.newest().await?;
        if newest.is_none() {
            return Err(Error::not_found("nothing is in force: the registry has no snapshot")
                .with_hint("unskew apply puts the definitions into force"));
        }
        self.load(newest, registry, runtime).await
    }

    /// What was in force after the commit of this number.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] when the registry has no such snapshot, and those of
    /// [`InForce::load`].
    pub async fn in_force_at(&self, sequence: u64) -> Result<InForce> {
        let registry = self.registry()?;
        let snapshot = registry.snapshot(sequence).await?;
        self.load(Some(snapshot), &registry, &self.runtime()?).await
    }

    /// What a snapshot comes to.
    ///
    /// # Errors
    /// Those of [`InForce::load`].
    pub async fn load(
        &self,
        snapshot: Option<Snapshot>,
        registry: &Registry,
        runtime: &Runtime,
    ) -> Result<InForce> {
        InForce::load(&self.config.project.name, snapshot, registry, runtime).await
    }

    /// The sources of what is in force, with that of a view opened.
    ///
    /// # Errors
    /// Those of [`Sources::open`].
    pub async fn source_of(
        &self,
        in_force: &InForce,
        resources: &Resources,
        view: &str,
    ) -> Result<Sources> {
        let view = in_force.state.definitions.feature_views.get(view);
        let mut sources = self.sources(in_force, resources, BTreeMap::new())?;
        sources.open(view.map(|view| view.source.as_str())).await?;
        Ok(sources)
    }

    /// The sources of what is in force, none of them opened yet, with the versions to read of Delta
    /// tables.
    ///
    /// # Errors
    /// Those of [`session`].
    pub fn sources(
        &self,
        in_force: &InForce,
        resources: &Resources,
        versions: BTreeMap<String, u64>,
    ) -> Result<Sources> {
        let definitions = in_force.state.definitions.sources.clone();
        Ok(Sources::new(session(resources)?, self.places(versions), definitions))
    }

    fn places(&self, versions: BTreeMap<String, u64>) -> Places {
        Places { folder: self.root.clone(), storage: self.storage.clone(), versions }
    }

    /// Reads and checks the definition files, against the sources, the registry and the lock file.
    ///
    /// # Errors
    /// Those of reading files and of the registry; what is wrong *in* the files is
    /// [`Declared::Bad`].
    pub async fn declared(&self, registry: &Registry) -> Result<Declared> {
        let parsed = parse(self.definition_files()?);
        let sources =
            parsed.sources().map(|(name, data)| (name.to_owned(), unnamed_times(data))).collect();
        let mut environment = Environment {
            locked: self.locked()?,
            stores: self.config.stores.keys().cloned().collect(),
            limits: self.config.limits.of_calls(),
            ..Environment::default()
        };
        for (name, _) in parsed.sources() {
            environment.sources.insert(name.to_owned(), self.columns(&sources, name).await);
        }
        for name in parsed.transforms() {
            environment.transforms.insert(name.clone(), pinned(registry, name).await);
        }
        Ok(match check(parsed, &environment) {
            Ok(state) => Declared::Good(state),
            Err(problems) => Declared::Bad(problems),
        })
    }

    /// The columns of a source, opened for itself, so that what is wrong with one is not said of
    /// another.
    async fn columns(
        &self,
        sources: &BTreeMap<String, Source>,
        name: &str,
    ) -> Result<BTreeMap<String, Column>> {
        let places = self.places(BTreeMap::new());
        let mut opened = Sources::new(session(&Resources::default())?, places, sources.clone());
        opened.open([name]).await?;
        let column = |(name, held): (String, Result<DataType, String>)| match held {
            Ok(data_type) => (name, Column::Of(data_type)),
            Err(arrow) => (name, Column::Unsupported(arrow)),
        };
        Ok(opened.columns(name)?.into_iter().map(column).collect())
    }

    fn definition_files(&self) -> Result<Vec<File>> {
        let folder = self.root.join(&self.config.project.definitions);
        let outcome = || format!("cannot read the definitions in {}", folder.display());
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder).context(outcome)? {
            let path = entry.context(outcome)?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let text = fs::read_to_string(&path).context(|| path.display().to_string())?;
                let shown = path.strip_prefix(&self.root).unwrap_or(&path);
                files.push(File { path: shown.display().to_string(), text });
            }
        }
        Ok(files)
    }

    fn locked(&self) -> Result<BTreeMap<TransformName, Digest>> {
        let path = self.root.join(LOCK_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => read_lock(&text).context(|| path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(Error::from(error).context(path.display().to_string())),
        }
    }

    /// The lock file of a state, which is there when the draft is finished: a folder that nothing
    /// can be written to is found out before anything else is done.
    ///
    /// # Errors
    /// [`crate::error::Kind::Unavailable`] when it cannot be written.
    pub fn draft_lock(&self, state: &State) -> Result<Draft> {
        let digests = state.transforms.iter().map(|(name, pinned)| (name.clone(), pinned.digest));
        let path = self.root.join(LOCK_FILE);
        // What a link leads to is written, and not the link.
        let path = fs::canonicalize(&path).unwrap_or(path);
        let write = || {
            let mut lock = Draft::create(&path)?;
            lock.write_all(write_lock(&digests.collect()).as_bytes())?;
            Ok::<_, Error>(lock)
        };
        write().context(|| path.display().to_string())
    }
}

/// A runtime that compiles in child processes of this program, and keeps compiled code where there
/// is a folder for it.
///
/// # Errors
/// Those of [`Runtime::new`], but for a folder that cannot be used.
pub fn runtime(limits: &Limits) -> Result<Runtime> {
    let start =
        |cache: Option<&Path>| Runtime::compiling_apart(limits.clone(), cache, this_program()?);
    match start(cache_folder().as_deref()) {
        Err(error) if error.kind() == Kind::Unavailable => {
            tracing::warn!(%error, "compiled code is not kept");
            start(None)
        }
        made => made,
    }
}

/// This program, also where its file was replaced by a newer one since it started.
fn this_program() -> Result<PathBuf> {
    match cfg!(target_os = "linux") {
        true => Ok(PathBuf::from("/proc/self/exe")),
        false => env::current_exe().context(|| "this program's file is not known"),
    }
}

/// A source as far as its columns are concerned.
fn unnamed_times(data: &SourceData) -> Source {
    Source {
        data: data.clone(),
        timestamp: String::new(),
        created: None,
        visible: Visible::default(),
        about: About::default(),
    }
}

async fn pinned(registry: &Registry, name: &TransformName) -> Result<PinnedTransform> {
    let digest = registry.resolve(name).await?;
    let report = registry.report(&digest).await?;
    Ok(PinnedTransform { digest, functions: report.functions })
}

fn nearest(start: &Path) -> Result<PathBuf> {
    let found = start.ancestors().find(|folder| folder.join(FILE).is_file());
    found.map(Path::to_owned).ok_or_else(|| {
        Error::not_found(format!(
            "no project: there is no {FILE} in {} or above it",
            start.display()
        ))
        .with_hint(
            "go to a project's folder, name one with --project, or make one with unskew init",
        )
    })
}

/// The folder for compiled code: the user's cache folder, where there is one.
fn cache_folder() -> Option<PathBuf> {
    let xdg = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    xdg.or_else(home).map(|cache| cache.join("unskew").join("compiled"))
}
