//! Links between the pages of this repository lead somewhere.

use std::fs;
use std::path::{Path, PathBuf};

/// Every page that readers are sent to.
pub(crate) fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = ["README.md", "CONTRIBUTING.md", "examples/README.md"].map(|page| root.join(page)).to_vec();
    find(&root.join("docs"), &mut found);
    found
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.extension() {
            None if path.is_dir() => find(&path, found),
            Some(extension) if extension == "md" => found.push(path),
            _ => {}
        }
    }
}

/// The name by which a heading is linked to.
fn anchor(heading: &str) -> String {
    let word = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
    heading.trim_start_matches(['#', ' ']).to_lowercase().chars().filter(word).collect::<String>().replace(' ', "-")
}

#[test]
fn links_between_pages_lead_somewhere() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let notes = text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")).map(|(_, link)| link);
        for link in links.chain(notes).filter(|link| !link.contains("://")) {
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: no file {link}", page.display());
            if !place.is_empty() {
                let target = fs::read_to_string(&target).unwrap();
                let found = target.lines().any(|line| line.starts_with('#') && anchor(line) == place);
                assert!(found, "{}: no heading {link}", page.display());
            }
        }
    }
}
