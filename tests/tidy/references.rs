//! The paths that a Rust file names, as `syn` reads it: in `use`, in code, in attributes and in macro
//! bodies. Each one has its module and whether it is compiled for tests only.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemExternCrate, ItemMod, ItemUse, Meta, UseTree, Visibility};

/// A path, as it is written.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    /// The module that contains it, from the crate's root.
    pub(super) module: Vec<String>,
    pub(super) segments: Vec<String>,
    pub(super) span: Span,
    pub(super) kind: Kind,
    /// Below `#[cfg(test)]`.
    pub(super) test: bool,
    /// With a `::` in front: an external crate.
    pub(super) rooted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `use` without `pub`; `extern crate`.
    Import,
    /// `pub use`, whatever its visibility.
    Reexport,
    /// The name of a macro.
    Macro,
    /// In code, an attribute or a macro's body.
    Code,
    /// In an attribute's string, where a module is used for its items.
    Quoted,
}

/// Every path that the file names.
pub(super) fn references(file: &syn::File, module: &[String], test: bool) -> Vec<Reference> {
    let mut visitor =
        Visitor { module: module.to_vec(), tests: usize::from(test), found: Vec::new() };
    visitor.visit_file(file);
    visitor.found
}

/// Whether the attributes say `#[cfg(test)]`.
pub(super) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        matches!(&attribute.meta, Meta::List(list)
            if list.path.is_ident("cfg") && list.tokens.to_string() == "test")
    })
}

struct Visitor {
    module: Vec<String>,
    /// How many `#[cfg(test)]` are open.
    tests: usize,
    found: Vec<Reference>,
}

impl Visitor {
    fn push(&mut self, segments: Vec<String>, span: Span, kind: Kind, rooted: bool) {
        let (module, test) = (self.module.clone(), self.tests > 0);
        self.found.push(Reference { module, segments, span, kind, test, rooted });
    }

    fn path(&mut self, path: &syn::Path, kind: Kind) {
        let span = path.segments.first().map_or_else(Span::call_site, |first| first.ident.span());
        let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.push(segments, span, kind, path.leading_colon.is_some());
    }

    fn use_tree(&mut self, tree: &UseTree, kind: Kind, rooted: bool) {
        for leaf in leaves(tree) {
            self.push(leaf.segments, leaf.span, kind, rooted);
        }
    }

    /// Paths in a macro's body or an attribute: names joined by `::`, groups of a `use` opened.
    fn tokens(&mut self, stream: TokenStream) {
        let trees: Vec<TokenTree> = stream.into_iter().collect();
        let mut at = 0;
        while at < trees.len() {
            match &trees[at] {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(first) if !follows_dot(&trees, at) => {
                    let (span, rooted) = (first.span(), ends_with_colons(&trees[..at]));
                    let (segments, end) = path_at(&trees, at);
                    if let Some(leaves) = group_after(&trees, &segments, end) {
                        for leaf in leaves {
                            self.push(leaf.segments, span, Kind::Code, rooted);
                        }
                    } else {
                        self.push(segments, span, Kind::Code, rooted);
                    }
                    at = end;
                    continue;
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
    }

    /// Paths that an attribute has in quotes, as `#[serde(with = "…")]` does.
    fn quoted(&mut self, stream: TokenStream) {
        for tree in stream {
            match tree {
                TokenTree::Group(group) => self.quoted(group.stream()),
                TokenTree::Literal(literal) => {
                    let text = syn::parse_str::<syn::LitStr>(&literal.to_string());
                    let path = text.and_then(|text| text.parse::<syn::Path>());
                    if let Ok(path) = path.as_ref()
                        && path.segments.len() > 1
                    {
                        let span = literal.span();
                        let segments = path.segments.iter().map(|it| it.ident.to_string());
                        self.push(segments.collect(), span, Kind::Quoted, false);
                    }
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }
}

impl<'a> Visit<'a> for Visitor {
    fn visit_item(&mut self, item: &'a Item) {
        let test = usize::from(attributes(item).is_some_and(is_test));
        self.tests += test;
        visit::visit_item(self, item);
        self.tests -= test;
    }

    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'a ItemUse) {
        let inherited = matches!(item.vis, Visibility::Inherited);
        let kind = if inherited { Kind::Import } else { Kind::Reexport };
        self.visit_visibility(&item.vis);
        self.use_tree(&item.tree, kind, item.leading_colon.is_some());
    }

    fn visit_item_extern_crate(&mut self, item: &'a ItemExternCrate) {
        let span = item.ident.span();
        self.push(vec![item.ident.to_string()], span, Kind::Import, true);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        self.path(path, Kind::Code);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'a syn::Macro) {
        self.path(&call.path, Kind::Macro);
        self.tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'a Attribute) {
        if attribute.path().is_ident("doc") {
            return;
        }
        self.path(attribute.path(), Kind::Macro);
        if let Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone());
            self.quoted(list.tokens.clone());
        }
    }
}

/// A path that a `use` names; the last segment of a glob is `*`.
pub(super) struct Leaf {
    pub(super) segments: Vec<String>,
    /// Its local name.
    pub(super) name: String,
    pub(super) span: Span,
}

/// The paths that a `use` names, its groups opened.
pub(super) fn leaves(tree: &UseTree) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    collect(tree, &[], &mut leaves);
    leaves
}

fn collect(tree: &UseTree, before: &[String], leaves: &mut Vec<Leaf>) {
    let (last, name, span) = match tree {
        UseTree::Path(path) => {
            return collect(&path.tree, &[before, &[path.ident.to_string()]].concat(), leaves);
        }
        UseTree::Group(group) => {
            return group.items.iter().for_each(|tree| collect(tree, before, leaves));
        }
        UseTree::Name(name) => (name.ident.to_string(), &name.ident, name.ident.span()),
        UseTree::Rename(rename) => (rename.ident.to_string(), &rename.rename, rename.ident.span()),
        UseTree::Glob(glob) => {
            let segments = [before, &["*".to_owned()]].concat();
            let span = glob.star_token.span;
            return leaves.push(Leaf { segments, name: "*".to_owned(), span });
        }
    };
    let (segments, own) = match before.last() {
        Some(parent) if last == "self" => (before.to_vec(), parent.clone()),
        _ => ([before, &[last]].concat(), name.to_string()),
    };
    let name = if name == "self" { own } else { name.to_string() };
    leaves.push(Leaf { segments, name, span });
}

fn is_colon(tree: Option<&TokenTree>) -> bool {
    matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == ':')
}

fn follows_dot(trees: &[TokenTree], at: usize) -> bool {
    let is_dot =
        |at: usize| matches!(&trees[at], TokenTree::Punct(punct) if punct.as_char() == '.');
    at >= 1 && is_dot(at - 1) && !(at >= 2 && is_dot(at - 2))
}

/// Whether `::` precedes, without a name before it.
fn ends_with_colons(before: &[TokenTree]) -> bool {
    matches!(before, [.., first, second] if is_colon(Some(first)) && is_colon(Some(second)))
}

/// The path that begins at a name, and the index behind it.
fn path_at(trees: &[TokenTree], start: usize) -> (Vec<String>, usize) {
    let mut segments = vec![trees[start].to_string()];
    let mut at = start + 1;
    while is_colon(trees.get(at)) && is_colon(trees.get(at + 1)) {
        let Some(TokenTree::Ident(next)) = trees.get(at + 2) else { break };
        segments.push(next.to_string());
        at += 3;
    }
    (segments, at)
}

/// The paths of a `use` group in braces that follows.
fn group_after(trees: &[TokenTree], before: &[String], at: usize) -> Option<Vec<Leaf>> {
    let Some(TokenTree::Group(group)) = trees.get(at + 2) else { return None };
    let is_group = group.delimiter() == Delimiter::Brace;
    if !is_group || !is_colon(trees.get(at)) || !is_colon(trees.get(at + 1)) {
        return None;
    }
    let text = format!("{}::{group}", before.join("::"));
    syn::parse_str::<UseTree>(&text).ok().map(|tree| leaves(&tree))
}

fn attributes(item: &Item) -> Option<&[Attribute]> {
    Some(match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => return None,
    })
}
