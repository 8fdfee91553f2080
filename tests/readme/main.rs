//! What the README and the pages of the guide say of the code. Their Rust blocks are documentation tests, see `support/build.rs`.

mod links;
mod recipes;

use pruning_burn::Pruner;

const README: &str = include_str!("../../README.md");
const METHODS: &str = include_str!("../../docs/guide/which-method.md");

fn between(page: &'static str, start: &str, end: &str) -> &'static str {
    let from = page.find(start).unwrap() + start.len();
    page[from..].split(end).next().unwrap().trim()
}

#[test]
fn the_readme_is_read_in_two_minutes() {
    let words = README.split_whitespace().count();
    assert!(words <= 900, "{words} words: move what is new to a page under docs/guide");
}

#[test]
fn the_table_of_plugins_is_that_of_the_registry() {
    let mut table = "| kind | name | what it does | from |\n|---|---|---|---|".to_string();
    for plugin in pruning_plugins::all().iter() {
        let references = plugin.references().join("; ");
        table += &format!("\n| {} | `{}` | {} | {references} |", plugin.kind(), plugin.name(), plugin.summary());
    }
    let written =
        between(METHODS, "<!-- plugins: made from the registry, checked by a test -->", "<!-- end of plugins -->");
    assert_eq!(written, table, "docs/guide/which-method.md should say:\n{table}");
}

#[test]
fn the_recipes_on_the_pages_read() {
    let blocks = links::pages().into_iter().flat_map(|page| {
        let text = std::fs::read_to_string(&page).unwrap();
        let blocks = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_string());
        blocks.map(|block| (page.clone(), block)).collect::<Vec<_>>()
    });
    let recipes: Vec<_> = blocks.filter(|(_, block)| !block.contains("[dependencies]")).collect();
    assert!(recipes.len() > 1);
    for (page, recipe) in recipes {
        let read = Pruner::from_toml(&recipe, &pruning_plugins::all());
        assert!(read.is_ok(), "{}: {}\n{recipe}", page.display(), read.unwrap_err());
    }
}
