//! What the README says of the code.

use pruning_burn::Pruner;

const README: &str = include_str!("../../README.md");

fn between(start: &str, end: &str) -> &'static str {
    let from = README.find(start).unwrap() + start.len();
    README[from..].split(end).next().unwrap().trim()
}

#[test]
fn the_table_of_plugins_is_that_of_the_registry() {
    let mut table = "| kind | name | what it does | from |\n|---|---|---|---|".to_string();
    for plugin in pruning_plugins::all().iter() {
        let references = plugin.references().join("; ");
        table += &format!("\n| {} | `{}` | {} | {references} |", plugin.kind(), plugin.name(), plugin.summary());
    }
    let written = between("<!-- plugins: made from the registry, checked by a test -->", "<!-- end of plugins -->");
    assert_eq!(written, table, "the README should say:\n{table}");
}

#[test]
fn the_recipe_reads() {
    let recipe = between("A recipe says what to do:\n\n```toml", "```");
    assert!(recipe.contains("iterative"), "{recipe}");
    Pruner::from_toml(recipe, &pruning_plugins::all()).unwrap();
}
