//! The page of what a pruning did: complete, safe with any text and any numbers, and below a megabyte.
//!
//! The pages stay in `tmp/pages` of the target folder, where `.ci/browser` opens them.

mod given;

use given::{everything, hostile};
use pruning_burn::report::{LayerReport, Report, SkipReason, Skipped, Warning};
use pruning_burn::store::save;
use pruning_report::{Page, PageError, ToHtml};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Keeps a page for the browser.
fn keep(name: &str, page: &Page<'_>) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    std::fs::create_dir_all(&folder).unwrap();
    let file: PathBuf = folder.join(name);
    page.save(&file).unwrap();
    std::fs::read_to_string(file).unwrap()
}

/// What holds for every page.
fn sound(html: &str) {
    assert!(html.len() < 1_000_000, "{} bytes", html.len());
    assert!(html.starts_with("<!DOCTYPE html>\n<html lang=\"en\">") && html.ends_with("</html>"), "cut off");
    // It fetches nothing.
    for outside in ["http://", "https://", "<script src", "<img", "<iframe", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
    for (tag, number) in [("<script>", 1), ("</script>", 1), ("<style>", 1), ("<h1>", 1), ("<main>", 1)] {
        assert_eq!(html.matches(tag).count(), number, "{tag}");
    }
    for tag in ["section", "table", "figure", "svg", "dl", "ul", "div"] {
        let [open, closed] = [format!("<{tag}"), format!("</{tag}>")].map(|tag| html.matches(&tag).count());
        assert_eq!(open, closed, "{tag}");
    }
}

fn sections(html: &str) -> Vec<&str> {
    html.split("<section id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// The rows of the first table of a section, each with the text of its cells.
fn rows(html: &str, section: &str) -> Vec<Vec<String>> {
    let section = html.split(&format!("<section id=\"{section}\"")).nth(1).unwrap();
    let body = section.split("<tbody>").nth(1).unwrap().split("</tbody>").next().unwrap();
    let text = |cell: &str| cell.split_once('>').unwrap().1.trim().to_string();
    let cells = |row: &str| row.split("<t").skip(1).map(text).collect();
    body.split("<tr>").skip(1).map(cells).collect()
}

#[test]
fn everything_that_is_known_has_a_section() {
    let all = everything();
    let page = all.page();
    let html = keep("everything.html", &page);
    sound(&html);
    let expected =
        ["summary", "layers", "scores", "groups", "costs", "sensitivity", "rounds", "compact", "sparse", "left-out"];
    assert_eq!(sections(&html), expected);
    let layers = rows(&html, "layers");
    for (row, layer) in layers.iter().zip(&all.report.layers) {
        let counts = [&row[row.len() - 4], &row[row.len() - 3]].map(|cell| cell.replace(',', ""));
        assert_eq!((&row[0], counts), (&layer.path, [layer.weights, layer.kept].map(|n| n.to_string())));
    }
    assert_eq!(layers.len(), all.report.layers.len());
    assert_eq!(rows(&html, "rounds").len(), all.rounds.rounds.len());
    // The scores of magnitude under one threshold: what stays is above it.
    assert!(html.contains("One threshold"), "{html}");
    // What the command prints has the report under a key.
    let printed = json!({ "file": "model.safetensors", "output": "out", "untouched": ["x"], "report": all.report });
    assert_eq!(Page::from_json(&printed.to_string()).unwrap().html(), all.report.html());
    let printed = json!({ "file": "model.safetensors", "ratio": 0.5, "report": all.compact });
    assert_eq!(sections(&Page::from_json(&printed.to_string()).unwrap().html()), ["summary", "compact"]);
    // The same data makes the same page, also by way of JSON.
    assert_eq!(page.html(), html);
    let again = page.to_json().unwrap();
    assert_eq!(Page::from_json(&again).unwrap().html(), html);
    assert_eq!(Page::from_json(&serde_json::to_string(&all.report).unwrap()).unwrap().html(), all.report.html());
    for alone in [all.report.html(), all.rounds.html(), all.sensitivity.html(), all.plan.html()] {
        sound(&alone);
    }
}

#[test]
fn a_page_is_saved_like_all_else() {
    let folder = tempfile::tempdir().unwrap();
    let (report, file) = (Report::default(), folder.path().join("page.html"));
    let page = Page::new("Nothing").with_report(&report);
    save(&page, &file).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), page.html());
    page.save(folder.path().join("page.json")).unwrap();
    let json = std::fs::read_to_string(folder.path().join("page.json")).unwrap();
    assert_eq!(Page::from_json(&json).unwrap().html(), page.html());
    let error = page.save(folder.path().join("none/page.html")).unwrap_err();
    assert!(matches!(&error, PageError::Store(_)) && error.to_string().contains("page.html"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn nothing_makes_a_page_too() {
    sound(&Report::default().html());
    let empty = Page::new("").html();
    sound(&empty);
    assert!(empty.contains("nothing to show"));
}

/// A model of many layers, the later the larger.
fn large(layers: usize) -> Report {
    let mut report = Report::default();
    for i in 0..layers {
        let path = format!("model.decoder.layers.{i}.self_attn.q_proj.weight");
        let shape = vec![8 + i, 64];
        report.layers.push(LayerReport::new(path, "Linear", shape, (8 + i) * (i % 65)));
        report.skipped.push(Skipped::new(format!("model.decoder.layers.{i}.bias"), SkipReason::NotDefault));
    }
    report.parameters = report.weights() + layers;
    report
}

#[test]
fn thousands_of_layers_have_room_and_more_are_cut_which_is_said() {
    let report = large(5_000);
    let html = keep("large.html", &Page::new("Five thousand layers").with_report(&report));
    sound(&html);
    assert_eq!(rows(&html, "layers").len(), 5_000);
    assert!(html.contains(", and 4960 more") && !html.contains("has room for"));

    let html = large(30_000).html();
    sound(&html);
    let shown = rows(&html, "layers");
    assert!(html.contains(&format!("has room for {},{:03} of 30,000 rows", shown.len() / 1000, shown.len() % 1000)));
    // The largest are there, in the order of the model.
    assert!(shown.len() > 5_000, "{}", shown.len());
    for (row, layer) in shown.iter().zip(30_000 - shown.len()..) {
        assert_eq!(row[0], format!("model.decoder.layers.{layer}.self_attn.q_proj.weight"));
    }
}

#[test]
fn any_text_is_shown_and_none_is_run() {
    let names = hostile();
    let mut report = Report::default();
    for name in &names {
        report
            .layers
            .push(LayerReport::new(name.clone(), name.clone(), vec![2, 3], 1).with_aliases(vec![name.clone()]));
        report.skipped.push(Skipped::new(name.clone(), SkipReason::Unfit { why: name.clone() }));
    }
    report.add_warning(Warning::Untraced { paths: names.clone() });
    let page =
        names.iter().fold(Page::new(names.join(" ")).with_measure(&names[0]), |page, name| page.with_fact(name, name));
    let mut all = everything();
    all.rename(&names);
    let page = page.with_report(&report).with_scores(&all.scores).with_sensitivity(&all.sensitivity);
    let page = page.with_plan(&all.plan).with_rounds(&all.rounds).with_compact(&all.compact).with_sparse(&all.sparse);
    let html = keep("hostile.html", &page);
    sound(&html);
    assert!(html.contains("&#60;script&#62;alert(1)&#60;/script&#62;"));
    for run in ["<script>alert", "<img", "onerror=\"", "<b>"] {
        assert!(!html.contains(run), "{run}");
    }
}

#[test]
fn numbers_that_are_none_break_nothing() {
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE, -1.0] {
        let mut all = everything();
        all.report.layers.iter_mut().for_each(|layer| layer.asked = odd);
        all.rounds.rounds.iter_mut().for_each(|round| (round.evaluation, round.seconds) = (odd, odd));
        all.sensitivity.dense = odd;
        all.sensitivity.layers.iter_mut().flat_map(|l| &mut l.points).for_each(|point| point.value = odd);
        all.scores.iter_mut().for_each(|layer| layer.scores.iter_mut().step_by(2).for_each(|score| *score = odd));
        let passes = all.sparse.passes.iter_mut();
        passes.for_each(|pass| (pass.dense_seconds, pass.seconds) = (Some(odd), Some(0.0)));
        let html = all.page().html();
        sound(&html);
        let svgs = html.split("<svg").skip(1).map(|rest| rest.split("</svg>").next().unwrap());
        svgs.for_each(|svg| assert!(!svg.contains("NaN") && !svg.contains("inf"), "{odd}: {svg}"));
    }
}

#[test]
fn json_that_is_no_page_is_an_error() {
    let form = |text: &str| match Page::from_json(text) {
        Err(PageError::Form { reason }) => reason,
        other => panic!("{text}: {other:?}"),
    };
    for text in ["", "[", "3", "{\"layers\": 3}", "{\"layers\": []}", "{\"report\": {}}", "\u{0}"] {
        assert!(!form(text).is_empty(), "{text}");
    }
    assert!(form(&format!("{{\"report\": \"{}\"}}", "x".repeat(1 << 20))).len() < 5_000);
    for text in ["{}", "{\"title\": \"x\"}", "{ \"raport\": 1 }", "{\"report\": null}"] {
        let error = Page::from_json(text).unwrap_err();
        assert!(matches!(error, PageError::Nothing { .. }) && error.to_string().contains("sensitivity"), "{error}");
    }

    // Numbers that no pruning gives.
    let mut report = Report::default();
    report.layers.push(LayerReport::new("fc", "Linear", vec![2, 2], 1));
    let told = serde_json::to_value(&report).unwrap();
    let with = |key: &str, value: Value| {
        let mut told = told.clone();
        told["layers"][0][key] = value;
        Page::from_json(&told.to_string())
    };
    assert!(with("kept", json!(4)).is_ok());
    let error = with("kept", json!(5)).unwrap_err();
    assert_eq!(error.to_string(), "\"fc\": more is kept than there is");
    assert!(matches!(with("kept_units", json!(5)), Err(PageError::Numbers { .. })));
    assert!(matches!(with("asked", Value::Null), Err(PageError::Form { .. })));
    let mut two = told.clone();
    two["layers"] = json!([told["layers"][0], told["layers"][0]]);
    two["layers"][0]["weights"] = json!(u64::MAX);
    assert!(matches!(Page::from_json(&two.to_string()), Err(PageError::Numbers { .. })));
    let compact = |dense: u64| json!({ "path": "w", "format": "csr16", "sparsity": 0.5, "dense": dense, "bytes": 2 });
    let sum = json!({ "compact": { "file": 3, "tensors": [compact(u64::MAX), compact(1)] } });
    assert!(matches!(Page::from_json(&sum.to_string()), Err(PageError::Numbers { .. })), "{sum}");
}
