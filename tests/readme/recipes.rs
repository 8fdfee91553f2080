//! The recipe reference has the keys that the reader of recipes knows, values that it reads, and its defaults.

use crate::between;
use pruning_plugins::all;
use serde_json::Value;

const PAGE: &str = include_str!("../../docs/guide/recipes.md");

/// The heading of each table, and recipes with `@` where its keys go: a value must be read in one of them. In the first, only what is
/// required is given.
const TABLES: [(&str, &[&str]); 8] = [
    (
        "## Top level",
        &[
            "criterion = 'magnitude'\nsparsity = 0.9\n@",
            "criterion = 'magnitude'\n@",
            "sparsity = 0.9\n@",
            "criterion = 'magnitude'\nsparsity = 0.9\nreconstruct = 'obs'\n@",
            "criterion = 'magnitude'\nsparsity = 0.9\ngranularity = 'channel'\n@",
        ],
    ),
    ("## Granularity", &["criterion = 'magnitude'\nsparsity = 0.9\n@", "criterion = 'magnitude'\n@"]),
    (
        "### One shot",
        &[
            "criterion = 'magnitude'\nsparsity = 0.9\nschedule = { kind = 'one_shot', @ }",
            "criterion = 'magnitude'\nsparsity = 0.9\nschedule = { @ }",
        ],
    ),
    (
        "### Iterative",
        &[
            "criterion = 'magnitude'\nsparsity = 0.9\nschedule = { kind = 'iterative', rounds = 2, @ }",
            "criterion = 'magnitude'\nsparsity = 0.9\nschedule = { kind = 'iterative', @ }",
            "criterion = 'magnitude'\nsparsity = 0.9\nschedule = { rounds = 2, @ }",
        ],
    ),
    (
        "### Gradual",
        &[
            "criterion = 'magnitude'\nsparsity = 0.9\nschedule = { kind = 'gradual', end = 50, @ }",
            "criterion = 'magnitude'\nsparsity = 0.9\nschedule = { kind = 'gradual', @ }",
            "criterion = 'magnitude'\nsparsity = 0.9\nschedule = { end = 50, @ }",
        ],
    ),
    ("## Target", &["criterion = 'magnitude'\nsparsity = 0.9\ntarget = { @ }"]),
    (
        "## Override",
        &[
            "criterion = 'magnitude'\nsparsity = 0.9\noverride = [{ target = 'fc1', sparsity = 0.1, @ }]",
            "criterion = 'magnitude'\nsparsity = 0.9\noverride = [{ target = 'fc1', @ }]",
            "criterion = 'magnitude'\nsparsity = 0.9\noverride = [{ sparsity = 0.1, @ }]",
        ],
    ),
    (
        "## Grow",
        &[
            "criterion = 'magnitude'\nsparsity = 0.9\ngrow = { criterion = 'random', end = 500, @ }",
            "criterion = 'magnitude'\nsparsity = 0.9\ngrow = { criterion = 'random', @ }",
            "criterion = 'magnitude'\nsparsity = 0.9\ngrow = { end = 500, @ }",
        ],
    ),
];

struct Row {
    key: &'static str,
    values: Vec<&'static str>,
    default: &'static str,
}

fn rows(heading: &str) -> Vec<Row> {
    let table = between(PAGE, &format!("\n{heading}\n"), "\n#").lines().filter(|line| line.starts_with('|')).skip(2);
    let mut rows: Vec<Row> = Vec::new();
    for line in table {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
        let values = code(cells[1]);
        match (cells[0], rows.last_mut()) {
            ("", Some(row)) => row.values.extend(values),
            (key, _) => rows.push(Row { key: key.trim_matches('`'), values, default: cells[2] }),
        }
    }
    assert!(!rows.is_empty(), "no table under {heading}");
    rows
}

/// What stands between backticks.
fn code(cell: &'static str) -> Vec<&'static str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn read(template: &str, entry: &str) -> Result<Value, String> {
    let text = template.replace("@", entry).replace(", }", " }");
    pruning_burn::recipe::Recipe::from_toml(&text, &all()).map(|recipe| recipe.to_value()).map_err(|e| e.to_string())
}

#[test]
fn every_key_is_in_the_reference() {
    for (heading, templates) in TABLES.into_iter().filter(|(heading, _)| *heading != "## Granularity") {
        let error = read(templates[0], "zzz = 0").unwrap_err();
        let known = error.lines().find_map(|line| line.split_once("unknown key; there are: ")).unwrap().1;
        let mut written: Vec<_> = rows(heading).iter().map(|row| row.key).collect();
        written.sort_unstable();
        assert_eq!(written.join(", "), known, "{heading}");
    }
}

#[test]
fn every_value_in_the_reference_is_read() {
    for (heading, templates) in TABLES {
        for Row { key, values, .. } in rows(heading) {
            assert!(!values.is_empty(), "{heading}, {key}: no value");
            for value in values {
                let problems: Vec<_> =
                    templates.iter().map_while(|t| read(t, &format!("{key} = {value}")).err()).collect();
                assert!(problems.len() < templates.len(), "{heading}: {key} = {value}\n{}", problems.join("\n"));
            }
        }
    }
}

#[test]
fn every_default_in_the_reference_is_what_a_recipe_without_the_key_has() {
    for (heading, templates) in TABLES {
        for Row { key, default, .. } in rows(heading) {
            let without = templates.iter().filter(|t| !t.contains(&format!("{key} = ")));
            let mut whole = without.filter_map(|t| Some((t, read(t, "").ok()?)));
            let stated = default.strip_prefix('`').and_then(|default| default.strip_suffix('`'));
            if let Some(default) = stated {
                let entry = format!("{key} = {default}");
                let found = whole.any(|(t, recipe)| read(t, &entry).is_ok_and(|stated| stated == recipe));
                assert!(found, "{heading}: {entry} is not the default");
            } else if let Some((template, recipe)) = whole.next() {
                let table = match template.rsplit('\n').next().and_then(|line| line.split_once(" = ")) {
                    Some((table, _)) => recipe[table].get(0).unwrap_or(&recipe[table]),
                    None => &recipe,
                };
                assert!(table.get(key).is_none(), "{heading}: {key} has a default, {}", table[key]);
            }
        }
    }
}

#[test]
fn the_settings_of_plugins_are_those_of_the_registry() {
    let mut table = "| kind | name | settings and their defaults |\n|---|---|---|".to_string();
    for plugin in all().iter() {
        let (kind, name) = (plugin.kind().to_string(), plugin.name());
        let recipe = match kind.as_str() {
            "criterion" => read("sparsity = 0.9\n@", &format!("criterion = '{name}'")),
            "allocator" => read("criterion = 'magnitude'\nsparsity = 0.9\n@", &format!("allocator = '{name}'")),
            "reconstruction" => read("criterion = 'magnitude'\nsparsity = 0.9\n@", &format!("reconstruct = '{name}'")),
            _ => read(TABLES[4].1[0], &format!("curve = '{name}'")),
        };
        let mut recipe = recipe.unwrap();
        let config = match kind.as_str() {
            "curve" => recipe["schedule"]["curve"].take(),
            "reconstruction" => recipe["reconstruct"].take(),
            _ => recipe[&kind].take(),
        };
        let config = config.as_object().into_iter().flatten().filter(|(key, _)| *key != "name");
        let settings: Vec<_> = config.map(|(key, value)| format!("`{key} = {value}`")).collect();
        if !settings.is_empty() {
            table += &format!("\n| {kind} | `{name}` | {} |", settings.join(", "));
        }
    }
    let written =
        between(PAGE, "<!-- settings: made from the registry, checked by a test -->", "<!-- end of settings -->");
    assert_eq!(written, table, "docs/guide/recipes.md should say:\n{table}");
}
