//! Makes a documentation test of every Rust block in the README and the pages under `docs`, for `lib.rs` to include.
//!
//! A comment `<!-- setup`, on lines of its own and closed by a line `-->`, holds code that readers do not need to see: it is put before
//! each block that follows it on the page, up to the next such comment. Blocks may use `?`, and write files: each runs in an empty folder.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("set by Cargo")).join("..");
    let mut pages = vec![root.join("README.md")];
    find(&root.join("docs"), &mut pages)?;
    pages.sort();
    let mut code = String::new();
    for page in &pages {
        println!("cargo::rerun-if-changed={}", page.display());
        let path = page.strip_prefix(&root).expect("below the root");
        let name: String = path.with_extension("").to_string_lossy().to_lowercase().chars().map(word).collect();
        let blocks =
            blocks(&fs::read_to_string(page)?).map_err(|e| io::Error::other(format!("{}:{e}", path.display())))?;
        writeln!(code, "mod {name} {{").expect("a string");
        for Block { line, fence, code: block } in blocks {
            let text = format!("{fence}\n{block}```\n");
            writeln!(code, "    #[doc = {text:?}]\n    struct Line{line};").expect("a string");
        }
        writeln!(code, "}}").expect("a string");
    }
    fs::write(Path::new(&env::var("OUT_DIR").expect("set by Cargo")).join("pages.rs"), code)
}

fn word(character: char) -> char {
    if character.is_ascii_alphanumeric() { character } else { '_' }
}

/// All pages below a folder.
fn find(folder: &Path, pages: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, pages)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    Ok(())
}

/// Documentation tests run each in a process of its own.
const OWN_FOLDER: [&str; 2] = ["let folder = tempfile::tempdir()?;", "std::env::set_current_dir(&folder)?;"];

struct Block {
    /// Where its fence is on the page, from 1.
    line: usize,
    fence: String,
    code: String,
}

fn blocks(page: &str) -> Result<Vec<Block>, String> {
    let mut found = Vec::new();
    let mut setup = String::new();
    let mut lines = (1..).zip(page.lines());
    while let Some((line, text)) = lines.next() {
        if text == "<!-- setup" {
            setup = lines.by_ref().map(|(_, text)| text).take_while(|&text| text != "-->").map(hidden).collect();
        } else if let Some(language) = text.trim_start().strip_prefix("```") {
            let indent = text.len() - text.trim_start().len();
            let block = lines.by_ref().map(|(_, text)| text).take_while(|text| text.trim() != "```");
            let block: String = block.map(|text| format!("{}\n", text.get(indent..).unwrap_or(""))).collect();
            if language.is_empty() {
                return Err(format!("{line}: a block that does not say its language: `text` for none"));
            }
            if language.split(',').next() != Some("rust") {
                continue;
            }
            let own_folder: String = OWN_FOLDER.map(hidden).concat();
            let end = hidden("Ok::<(), Box<dyn std::error::Error>>(())");
            let code = own_folder + &setup + &block + &end;
            found.push(Block { line, fence: text.trim_start().into(), code });
        }
    }
    Ok(found)
}

/// A line that rustdoc compiles.
fn hidden(line: &str) -> String {
    format!("# {line}\n")
}
