//! The crate's modules: which file each is, what it defines and imports, and to which file a path
//! leads, through re-exports as the compiler follows them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::{Item, ItemMod, Lit, Meta};

use super::SourceFile;
use super::references::{Kind, Reference, is_test, leaves, references};

/// The longest chain of imports that is resolved.
const MAX_STEPS: usize = 16;

/// A module: a file, or a `mod` with braces in one.
#[derive(Debug, Default)]
struct Module {
    file: String,
    items: BTreeSet<String>,
    /// The local name, and its path.
    imports: Vec<(String, Vec<String>)>,
    globs: Vec<Vec<String>>,
}

/// The crate, and every path that its files name.
#[derive(Debug, Default)]
pub(super) struct Modules {
    modules: BTreeMap<Vec<String>, Module>,
    /// By file.
    pub(super) references: BTreeMap<String, Vec<Reference>>,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Module(Vec<String>),
    /// Something that a module defines.
    Item(Vec<String>),
}

impl Modules {
    /// Reads files of `src`.
    pub(super) fn read(files: &[SourceFile]) -> Self {
        let parsed: Vec<(&SourceFile, syn::File)> = files
            .iter()
            .map(|file| (file, syn::parse_file(&file.text).expect("a file that compiles")))
            .collect();
        let declared = Declared::of(&parsed);
        let mut modules = Self::default();
        for (file, parsed) in &parsed {
            let module = declared.module(&file.path);
            modules.define(&file.path, &module, &parsed.items);
            let found = references(parsed, &module, declared.is_test(&module));
            modules.references.insert(file.path.clone(), found);
            // A parent that was not read is there all the same.
            for length in 0..module.len() {
                modules.modules.entry(module[..length].to_vec()).or_default();
            }
        }
        modules
    }

    fn define(&mut self, file: &str, path: &[String], items: &[Item]) {
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        for item in items {
            match item {
                Item::Mod(inner) if !is_test(&inner.attrs) => {
                    if let Some((_, items)) = &inner.content {
                        let path = [path, &[inner.ident.to_string()]].concat();
                        self.define(file, &path, items);
                    }
                }
                Item::Use(import) if !is_test(&import.attrs) => {
                    for mut leaf in leaves(&import.tree) {
                        if leaf.name == "*" {
                            leaf.segments.pop();
                            module.globs.push(leaf.segments);
                        } else {
                            module.imports.push((leaf.name, leaf.segments));
                        }
                    }
                }
                other => module.items.extend(name(other)),
            }
        }
        let known = self.modules.entry(path.to_vec()).or_default();
        *known = module;
    }

    /// The file that defines what a path names; none for another crate's, for a local name and for a
    /// module, which is only a way to its items.
    pub(super) fn file_of(&self, reference: &Reference) -> Option<&str> {
        let path: Vec<&str> = reference.segments.iter().map(String::as_str).collect();
        let path = path.strip_suffix(&["*"]).unwrap_or(&path);
        if reference.rooted {
            return None;
        }
        let module = match self.resolve(&reference.module, path, 0)? {
            Target::Item(module) => module,
            Target::Module(module) if reference.kind == Kind::Quoted => module,
            Target::Module(_) => return None,
        };
        let file = self.modules.get(&module).map(|it| it.file.as_str());
        file.filter(|file| !file.is_empty())
    }

    /// Whether a name is defined or imported in a module.
    pub(super) fn is_local(&self, module: &[String], name: &str) -> bool {
        self.look_up(module, name, false, 0).is_some()
    }

    fn resolve(&self, module: &[String], path: &[&str], step: usize) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        match *first {
            "crate" => self.walk(Target::Module(Vec::new()), rest, step),
            "postrider" if module.first().is_some_and(|it| it == "main") => {
                self.walk(Target::Module(Vec::new()), rest, step)
            }
            "self" => self.walk(Target::Module(module.to_vec()), rest, step),
            "super" => {
                let parent = &module[..module.len().saturating_sub(1)];
                if rest.first() == Some(&"super") {
                    return self.resolve(parent, rest, step);
                }
                self.walk(Target::Module(parent.to_vec()), rest, step)
            }
            name => {
                let target = self.look_up(module, name, rest.is_empty(), step)?;
                self.walk(target, rest, step)
            }
        }
    }

    fn walk(&self, from: Target, path: &[&str], step: usize) -> Option<Target> {
        let (Target::Module(module), Some((name, rest))) = (&from, path.split_first()) else {
            return Some(from);
        };
        match self.look_up(module, name, rest.is_empty(), step) {
            Some(target) => self.walk(target, rest, step),
            // A macro may have defined it.
            None if self.modules.contains_key(module) && self.imports_nothing(module, name) => {
                Some(Target::Item(module.clone()))
            }
            None => None,
        }
    }

    /// Whether the module has no import of this name: one of another crate's leads out of this one.
    fn imports_nothing(&self, module: &[String], name: &str) -> bool {
        let imports = self.modules.get(module).map(|module| &module.imports);
        imports.is_some_and(|imports| imports.iter().all(|(known, _)| known != name))
    }

    /// Resolves a name in a module. The last name of a path is an item rather than a module.
    fn look_up(&self, module: &[String], name: &str, last: bool, step: usize) -> Option<Target> {
        let known = self.modules.get(module)?;
        let child = [module, &[name.to_owned()]].concat();
        let child = self.modules.contains_key(&child).then_some(Target::Module(child));
        let item = known.items.contains(name).then(|| Target::Item(module.to_vec()));
        let found = if last { item.or(child) } else { child.or(item) };
        if found.is_some() || step == MAX_STEPS {
            return found;
        }
        let imports = known.imports.iter().filter(|(known, _)| known == name);
        let imported = imports.filter_map(|(_, path)| {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            // `use name::…` inside the module that has `name` for the crate would look for itself.
            (path.first() != Some(&name)).then(|| self.resolve(module, &path, step + 1)).flatten()
        });
        let globbed = known.globs.iter().filter_map(|path| {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            match self.resolve(module, &path, step + 1)? {
                Target::Module(inner) => self.look_up(&inner, name, last, step + 1),
                Target::Item(_) => None,
            }
        });
        imported.chain(globbed).next()
    }
}

/// The name that an item defines.
fn name(item: &Item) -> Option<String> {
    match item {
        Item::Const(item) => Some(item.ident.to_string()),
        Item::Enum(item) => Some(item.ident.to_string()),
        Item::Fn(item) => Some(item.sig.ident.to_string()),
        Item::Macro(item) => item.ident.as_ref().map(ToString::to_string),
        Item::Static(item) => Some(item.ident.to_string()),
        Item::Struct(item) => Some(item.ident.to_string()),
        Item::Trait(item) => Some(item.ident.to_string()),
        Item::Type(item) => Some(item.ident.to_string()),
        Item::Union(item) => Some(item.ident.to_string()),
        _ => None,
    }
}

/// Attributes of `mod name;`: `#[path]` and `#[cfg(test)]`.
#[derive(Default)]
struct Declared {
    paths: BTreeMap<String, Vec<String>>,
    tests: BTreeSet<Vec<String>>,
}

impl Declared {
    fn of(files: &[(&SourceFile, syn::File)]) -> Self {
        let mut declared = Self::default();
        for (file, parsed) in files {
            for item in &parsed.items {
                let Item::Mod(item) = item else { continue };
                let module = [default_module(&file.path), vec![item.ident.to_string()]].concat();
                if is_test(&item.attrs) {
                    declared.tests.insert(module.clone());
                }
                if let Some(path) = path_attribute(item) {
                    let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
                    declared.paths.insert(folder.join(path).display().to_string(), module);
                }
            }
        }
        declared
    }

    fn module(&self, path: &str) -> Vec<String> {
        self.paths.get(path).cloned().unwrap_or_else(|| default_module(path))
    }

    fn is_test(&self, module: &[String]) -> bool {
        (1..=module.len()).any(|length| self.tests.contains(&module[..length]))
    }
}

/// The module that a file is by its path; `main.rs` is one beside the library's.
fn default_module(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    inner.split('/').filter(|part| *part != "lib").map(str::to_owned).collect()
}

fn path_attribute(item: &ItemMod) -> Option<String> {
    item.attrs.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}
