//! The modules of a crate, and what each names of the others.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Names from the root of the crate, which has none itself: `["store", "seal"]`.
pub(crate) type Name = Vec<String>;

/// Where a line is, for messages.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// From the root of the repository.
    pub(crate) file: String,
    pub(crate) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A path that the code of a module names, as written: `crate::a::b` is `["crate", "a", "b"]`.
#[derive(Clone, Debug)]
pub(crate) struct Mention {
    pub(crate) path: Vec<String>,
    pub(crate) place: Place,
}

/// A module without what is only there for its tests.
#[derive(Debug, Default)]
pub(crate) struct Module {
    pub(crate) mentions: Vec<Mention>,
    /// What its `use` lines bring in, by the name that they give it.
    pub(crate) imports: BTreeMap<String, Vec<String>>,
    /// What it has with a star.
    pub(crate) globs: Vec<Vec<String>>,
}

/// A crate, read from its `src`.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) modules: BTreeMap<Name, Module>,
    /// Macros that `#[macro_export]` puts at the root, and the module that has each.
    pub(crate) exported: BTreeMap<String, Name>,
    /// Every use of the word `unsafe`.
    pub(crate) hazards: Vec<Place>,
    /// Every file, with the number of its lines before the tests at its end.
    pub(crate) lengths: Vec<(String, usize)>,
}

impl Source {
    /// Reads the crate with this root file, and all modules that it declares.
    pub(crate) fn read(repository: &Path, root: &str) -> Self {
        let mut source = Self::default();
        let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
        source.file(repository, root, folder, Vec::new());
        source
    }

    /// `folder` is where the files of the module's children are.
    fn file(&mut self, repository: &Path, file: &str, folder: &str, name: Name) {
        let text = std::fs::read_to_string(repository.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        let tests = tests_at_the_end(&tokens).unwrap_or(usize::MAX);
        self.lengths.push((file.to_owned(), text.lines().count().min(tests - 1)));
        self.modules.entry(name.clone()).or_default();
        self.tokens(tokens, &Scope { repository, file, folder, name: &name });
    }

    fn tokens(&mut self, tokens: TokenStream, scope: &Scope<'_>) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut at = 0;
        // Attributes of the item that follows.
        let (mut exported, mut path) = (false, None);
        while let Some(token) = tokens.get(at) {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    let group = tokens[at + 1..].iter().take(2).find_map(|token| match token {
                        TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => Some(group.stream()),
                        _ => None,
                    });
                    let Some(attribute) = group else {
                        at += 1;
                        continue;
                    };
                    let words = words(&attribute);
                    let inner = is_punct(tokens.get(at + 1), '!');
                    at += if inner { 3 } else { 2 };
                    match words.first().map(String::as_str) {
                        Some("cfg") if words.contains(&"test".into()) && !words.contains(&"not".into()) => {
                            assert!(!inner, "{}: a whole file under cfg(test)", scope.file);
                            at = after_item(&tokens, at);
                        }
                        Some("macro_export") => exported = true,
                        Some("path") => {
                            path = attribute.into_iter().last().map(|text| text.to_string().replace('"', ""));
                        }
                        _ => {}
                    }
                }
                TokenTree::Group(group) => {
                    self.tokens(group.stream(), scope);
                    at += 1;
                }
                TokenTree::Ident(word) if *word == "mod" && matches!(tokens.get(at + 1), Some(TokenTree::Ident(_))) => {
                    let child = tokens[at + 1].to_string();
                    let mut name = scope.name.clone();
                    name.push(child.clone());
                    let folder = format!("{}/{child}", scope.folder);
                    if let Some(TokenTree::Group(group)) = tokens.get(at + 2) {
                        self.modules.entry(name.clone()).or_default();
                        self.tokens(group.stream(), &Scope { folder: &folder, name: &name, ..*scope });
                    } else {
                        let here = scope.file.rsplit_once('/').map_or("", |(folder, _)| folder);
                        let files = match path.take() {
                            Some(path) => vec![format!("{here}/{path}")],
                            None => vec![format!("{folder}.rs"), format!("{folder}/mod.rs")],
                        };
                        let file = files.iter().find(|file| scope.repository.join(file).exists());
                        let file = file.unwrap_or_else(|| panic!("none of {files:?} exists"));
                        self.file(scope.repository, file, &folder, name);
                    }
                    at += 3;
                }
                TokenTree::Ident(word) if *word == "use" && !is_punct(tokens.get(at + 1), '<') => {
                    let end = at + tokens[at..].iter().position(|token| is_punct(Some(token), ';')).unwrap_or(1);
                    self.imports(&tokens[at + 1..end], &[], scope);
                    at = end;
                }
                TokenTree::Ident(word) if *word == "macro_rules" && is_punct(tokens.get(at + 1), '!') => {
                    if std::mem::take(&mut exported) {
                        self.exported.insert(tokens[at + 2].to_string(), scope.name.clone());
                    }
                    at += 3;
                }
                TokenTree::Ident(word) => {
                    if *word == "unsafe" {
                        self.hazards.push(scope.place(token));
                    }
                    let (path, next) = path_at(&tokens, at);
                    // `.field::<T>()` is none, nor is the end of a path in angle brackets, `<T as X>::NAME`.
                    if path.len() > 1 && (at == 0 || !is_punct(tokens.get(at - 1), '.')) {
                        self.mention(path, token, scope);
                    }
                    at = next;
                }
                _ => at += 1,
            }
        }
    }

    /// The tree of a `use`, below `prefix`.
    fn imports(&mut self, tree: &[TokenTree], prefix: &[String], scope: &Scope<'_>) {
        for branch in tree.split(|token| is_punct(Some(token), ',')).filter(|branch| !branch.is_empty()) {
            let mut path = prefix.to_vec();
            let mut given = None;
            for (at, token) in branch.iter().enumerate() {
                match token {
                    TokenTree::Ident(word) if *word == "as" => {
                        given = branch.get(at + 1).map(ToString::to_string);
                        break;
                    }
                    TokenTree::Ident(word) => path.push(word.to_string()),
                    TokenTree::Punct(punct) if punct.as_char() == '*' => path.push("*".into()),
                    TokenTree::Group(group) => {
                        let below: Vec<_> = group.stream().into_iter().collect();
                        self.imports(&below, &path, scope);
                        path.clear();
                    }
                    _ => {}
                }
            }
            let Some(last) = path.last().cloned() else { continue };
            let module = self.modules.get_mut(scope.name).unwrap();
            if last == "*" {
                path.pop();
                module.globs.push(path.clone());
            } else {
                if last == "self" {
                    path.pop();
                }
                let name = given.or_else(|| path.last().cloned());
                module.imports.insert(name.unwrap_or_default(), path.clone());
            }
            self.mention(path, &branch[0], scope);
        }
    }

    fn mention(&mut self, path: Vec<String>, token: &TokenTree, scope: &Scope<'_>) {
        let place = scope.place(token);
        self.modules.get_mut(scope.name).unwrap().mentions.push(Mention { path, place });
    }

    /// The modules that a path leads through, written in `module`: those that it names, and the one that has what it ends in.
    pub(crate) fn resolve(&self, module: &[String], path: &[String]) -> Vec<Name> {
        let mut through = Vec::new();
        self.follow(module, path, true, &mut through, 0);
        through
    }

    fn follow(&self, module: &[String], path: &[String], first: bool, through: &mut Vec<Name>, depth: usize) -> bool {
        let Some((segment, rest)) = path.split_first() else { return true };
        let mut child = module.to_vec();
        child.push(segment.clone());
        let here = &self.modules[module];
        match segment.as_str() {
            // `use a::b as b` in `a`, and the like.
            _ if depth > 20 => false,
            "crate" if first => self.follow(&[], rest, false, through, depth + 1),
            "self" if first => self.follow(module, rest, false, through, depth + 1),
            "super" if !module.is_empty() => self.follow(&module[..module.len() - 1], rest, false, through, depth + 1),
            // What a path ends in is rather an item than a module of the same name.
            _ if self.modules.contains_key(&child) && (!rest.is_empty() || !here.imports.contains_key(segment)) => {
                through.push(child.clone());
                self.follow(&child, rest, false, through, depth + 1)
            }
            // Names that a module has imported for itself count where it says so, in its `use`.
            _ if first => false,
            _ => {
                if let Some(import) = here.imports.get(segment) {
                    let whole: Vec<_> = import.iter().chain(rest).cloned().collect();
                    return self.follow(module, &whole, true, through, depth + 1);
                }
                if module.is_empty()
                    && let Some(module) = self.exported.get(segment)
                {
                    through.push(module.clone());
                }
                true
            }
        }
    }
}

struct Scope<'a> {
    repository: &'a Path,
    file: &'a str,
    folder: &'a str,
    name: &'a Name,
}

impl Scope<'_> {
    fn place(&self, token: &TokenTree) -> Place {
        Place { file: self.file.to_owned(), line: token.span().start().line }
    }
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

/// The words of an attribute, at any depth.
fn words(attribute: &TokenStream) -> Vec<String> {
    let mut found = Vec::new();
    for token in attribute.clone() {
        match token {
            TokenTree::Ident(word) => found.push(word.to_string()),
            TokenTree::Group(group) => found.extend(words(&group.stream())),
            _ => {}
        }
    }
    found
}

/// Behind the item that begins here: behind its body or its semicolon.
fn after_item(tokens: &[TokenTree], from: usize) -> usize {
    let end = tokens[from..].iter().position(|token| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        token => is_punct(Some(token), ';') || is_punct(Some(token), ','),
    });
    end.map_or(tokens.len(), |end| from + end + 1)
}

/// The path that begins here, and where the code goes on.
fn path_at(tokens: &[TokenTree], from: usize) -> (Vec<String>, usize) {
    let mut path = vec![tokens[from].to_string()];
    let mut at = from + 1;
    while is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':') {
        let Some(TokenTree::Ident(word)) = tokens.get(at + 2) else { break };
        path.push(word.to_string());
        at += 3;
    }
    (path, at)
}

/// The line where the tests begin, if all that follows is tests.
fn tests_at_the_end(tokens: &TokenStream) -> Option<usize> {
    let tokens: Vec<_> = tokens.clone().into_iter().collect();
    let mut begin = None;
    let mut at = 0;
    while at < tokens.len() {
        let attribute = match (&tokens[at], tokens.get(at + 1)) {
            (TokenTree::Punct(punct), Some(TokenTree::Group(group))) if punct.as_char() == '#' => {
                words(&group.stream())
            }
            _ => Vec::new(),
        };
        if attribute == ["cfg", "test"] {
            begin = begin.or(Some(tokens[at].span().start().line));
            at = after_item(&tokens, at + 2);
        } else {
            begin = None;
            at += 1;
        }
    }
    begin
}
