use crate::budget::{AllocationError, Compare, LayerUnits};
use crate::plugin::Plugin;
use crate::recipe::*;
use crate::reconstruct::{LayerProblem, Reconstructed, ReconstructionError};
use crate::schedule::Curve;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

trait Named: Debug + Send + Sync {}

impl PluginKind for dyn Named {
    const KIND: &'static str = "criterion";
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Magnitude {
    p: f64,
}

impl Default for Magnitude {
    fn default() -> Self {
        Self { p: 1.0 }
    }
}

impl Named for Magnitude {}

impl Plugin for Magnitude {
    const NAME: &'static str = "magnitude";
    const SUMMARY: &'static str = "A stand-in.";
}

crate::register_plugin!(Magnitude, dyn Named);

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Uniform {}

impl Plugin for Uniform {
    const NAME: &'static str = "uniform";
    const SUMMARY: &'static str = "A stand-in.";
}

impl Allocator for Uniform {
    fn allocate(&self, _: &[LayerUnits<'_>], _: usize) -> Result<Vec<usize>, AllocationError> {
        Ok(Vec::new())
    }
}

crate::register_allocator!(Uniform);

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Cubic {}

impl Plugin for Cubic {
    const NAME: &'static str = "cubic";
    const SUMMARY: &'static str = "A stand-in.";
}

impl Curve for Cubic {
    fn sparsity(&self, _: Sparsity, target: Sparsity, _: f64) -> f64 {
        target.value()
    }
}

crate::register_curve!(Cubic);

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Chooser {
    damp: f64,
}

impl Plugin for Chooser {
    const NAME: &'static str = "chooser";
    const SUMMARY: &'static str = "A stand-in.";
}

impl Reconstruction for Chooser {
    fn chooses(&self) -> bool {
        true
    }

    fn reconstruct(&self, layer: &LayerProblem<'_>) -> Result<Reconstructed, ReconstructionError> {
        Ok(Reconstructed::new(layer.weight.to_vec()))
    }
}

crate::register_reconstruction!(Chooser);

fn plugins() -> Plugins {
    Plugins::empty().with::<Magnitude>().with::<Uniform>().with::<Cubic>().with::<Chooser>()
}

fn parse(text: &str) -> Result<Recipe<dyn Named>, RecipeError> {
    Recipe::from_toml(text, &plugins())
}

fn problems(text: &str) -> Vec<String> {
    parse(text).unwrap_err().problems.iter().map(ToString::to_string).collect()
}

#[test]
fn the_shortest_recipe_is_filled_in_and_reads_back_the_same() {
    let recipe = parse("sparsity = 0.9\ncriterion = \"magnitude\"").unwrap();
    assert_eq!(recipe.sparsity(), Sparsity::new(0.9).ok());
    assert_eq!(recipe.allocator.as_ref().unwrap().name(), "uniform");
    assert_eq!(recipe.criterion.config(), &json!({ "p": 1.0 }));
    let text = recipe.to_toml();
    assert_eq!(parse(&text).unwrap().to_toml(), text);
}

#[test]
fn every_form_reads_back_the_same() {
    for text in [
        "count = 7\ncriterion = { name = \"magnitude\", p = 2.0 }",
        "criterion = \"magnitude\"\ngranularity = \"2:4\"",
        "criterion = \"magnitude\"\ngranularity = \"2:4 taps\"\nskip_unfit = true",
        "criterion = \"magnitude\"\nschedule = { kind = \"iterative\", rounds = 3, fraction = 0.2 }",
        "sparsity = 0.5\ncriterion = \"magnitude\"\ninitialization = { rewind = { step = 2 } }\n\
         schedule = { kind = \"gradual\", begin = 4, end = 9, every = 2 }",
        "sparsity = 0.5\ncriterion = \"magnitude\"\nallow_empty = true\nrounding = \"ceil\"\nreduction = \"l2\"\n\
         granularity = { kind = \"block\", rows = 1, cols = 4 }\n[target]\ninclude = [\"a\"]\nexclude = [\"b\"]\n\
         [[override]]\ntarget = \"c\"\nsparsity = 0.25\n[[override]]\ntarget = \"d\"\ngranularity = \"1:4\"",
    ] {
        let printed = parse(text).unwrap().to_toml();
        assert_eq!(parse(&printed).unwrap_or_else(|e| panic!("{e}\n{printed}")).to_toml(), printed);
    }
}

#[test]
fn a_written_pattern_says_along_what_it_runs() {
    // A file from before there were two orders says nothing, and is told apart from both.
    for (pattern, along) in [("2:4", "inputs"), ("2:4 taps", "taps")] {
        let recipe = parse(&format!("criterion = \"magnitude\"\ngranularity = \"{pattern}\"")).unwrap();
        assert_eq!(recipe.to_value()["granularity"], json!({ "kind": "nm", "n": 2, "m": 4, "along": along }));
        assert_eq!(recipe.to_value().get("skip_unfit"), None);
    }
}

#[test]
fn all_problems_are_reported_at_once_each_with_its_path() {
    let text = r#"
        sparsity = 1.5
        criterion = { name = "magnitude", q = 2 }
        alocator = "global"
        granularity = "5:4"
        rounding = "up"
        [schedule]
        kind = "gradual"
        begin = 10
        end = 5
        curve = "cubc"
        [target]
        include = []
        [[override]]
        target = "fc1"
    "#;
    let found = problems(text);
    for (path, part) in [
        ("sparsity: ", "1.5 is outside [0, 1)"),
        ("criterion: ", "unknown field `q`"),
        ("alocator: ", "did you mean \"allocator\"?"),
        ("granularity: ", "5:4 is not an N:M pattern"),
        ("rounding: ", "unknown variant `up`"),
        ("schedule.end: ", "5: must be above begin, 10"),
        ("schedule.curve: ", "unknown curve \"cubc\", did you mean \"cubic\"?"),
        ("target.include: ", "an empty list selects nothing"),
        ("override.0: ", "needs a sparsity of its own"),
    ] {
        assert!(found.iter().any(|p| p.starts_with(path) && p.contains(part)), "{path}{part} in {found:#?}");
    }
    assert_eq!(found.len(), 9, "{found:#?}");
}

#[test]
fn the_score_of_channels_is_for_recipes_that_have_some() {
    let channels = "sparsity = 0.5\ncriterion = \"magnitude\"\ngranularity = \"channel\"\n";
    assert_eq!(parse(channels).unwrap().channel_score, ChannelScore::Group);
    let own = parse(&format!("{channels}channel_score = \"own\"")).unwrap();
    assert_eq!(own.channel_score, ChannelScore::Own);
    assert_eq!(parse(&own.to_toml()).unwrap().channel_score, ChannelScore::Own);
    let heads = "[[override]]\ntarget = \"q\"\nsparsity = 0.5\ngranularity = { kind = \"head\", size = 4 }";
    let plain = "sparsity = 0.5\ncriterion = \"magnitude\"\nchannel_score = \"own\"\n";
    assert_eq!(parse(&format!("{plain}{heads}")).unwrap().channel_score, ChannelScore::Own);
    assert!(problems(plain)[0].starts_with("channel_score: there are no channels or heads to score"));
    let wrong = problems(&format!("{channels}channel_score = \"filter\""));
    assert!(wrong[0].contains("expected `group` or `own`"), "{wrong:?}");
    assert!(!parse("sparsity = 0.5\ncriterion = \"magnitude\"").unwrap().to_toml().contains("channel_score"));
}

#[test]
fn weights_compete_within_rows_where_a_recipe_says_so() {
    let plain = "sparsity = 0.5\ncriterion = \"magnitude\"\n";
    assert_eq!(parse(plain).unwrap().compare, Compare::Layer);
    assert_eq!(parse(&format!("{plain}compare = \"layer\"")).unwrap().to_toml(), parse(plain).unwrap().to_toml());
    let rows = format!("{plain}compare = \"row\"\n");
    let read = parse(&rows).unwrap();
    assert_eq!((read.compare, parse(&read.to_toml()).unwrap().compare), (Compare::Row, Compare::Row));
    for granularity in ["\"channel\"", "\"head\"", "{ kind = \"block\", rows = 1, cols = 4 }", "\"2:4\""] {
        let found = problems(&format!("{rows}granularity = {granularity}"));
        let both = |p: &&String| p.contains("compare = \"row\"") && p.contains("granularity");
        assert_eq!(found.iter().filter(both).count(), 1, "{found:#?}");
        assert!(found[0].starts_with("compare: "), "{found:#?}");
        let own = format!("{rows}[[override]]\ntarget = \"a\"\nsparsity = 0.5\ngranularity = {granularity}");
        let found = problems(&own);
        assert_eq!(found.iter().filter(both).count(), 1, "{found:#?}");
        assert!(found[0].starts_with("override.0.granularity: "), "{found:#?}");
    }
    let element = format!("{rows}[[override]]\ntarget = \"a\"\nsparsity = 0.5\ngranularity = \"element\"");
    assert_eq!(parse(&element).unwrap().compare, Compare::Row);
    let grown = problems(&format!("{rows}grow = {{ criterion = \"magnitude\", end = 500 }}"));
    assert!(grown[0].starts_with("compare: grow changes places"), "{grown:?}");
    assert!(problems(&rows.replace("row", "column"))[0].contains("expected `layer` or `row`"));
}

#[test]
fn a_reconstruction_is_read_and_refused_beside_what_it_does_not_go_with() {
    let plain = "sparsity = 0.5\ncriterion = \"magnitude\"\n";
    assert!(!parse(plain).unwrap().to_toml().contains("reconstruct"));
    let read = parse(&format!("{plain}reconstruct = {{ name = \"chooser\", damp = 0.5 }}\nsequential = true")).unwrap();
    assert_eq!(read.reconstruct.as_ref().unwrap().config(), &json!({ "damp": 0.5 }));
    let again = parse(&read.to_toml()).unwrap();
    assert_eq!((again.to_toml(), again.sequential), (read.to_toml(), true));
    assert!(parse(&format!("{plain}reconstruct = \"chooser\"\ngranularity = \"element\"")).is_ok());
    assert!(parse("criterion = \"magnitude\"\nreconstruct = \"chooser\"\ngranularity = \"2:4\"").is_ok());
    for (more, expected) in [
        ("sequential = true", "sequential: true: nothing is reconstructed"),
        ("reconstruct = \"choser\"", "reconstruct: unknown reconstruction \"choser\", did you mean \"chooser\"?"),
        (
            "reconstruct = { name = \"chooser\", dump = 1 }",
            "reconstruct: reconstruction \"chooser\": unknown field `dump`",
        ),
        ("reconstruct = \"chooser\"\ncompare = \"row\"", "compare: reconstruct = \"chooser\" chooses"),
        ("reconstruct = \"chooser\"\ngranularity = \"channel\"", "reconstruct: reconstruct = \"chooser\" chooses"),
        ("reconstruct = \"chooser\"\ngranularity = \"head\"", "reconstruct: reconstruct = \"chooser\" chooses"),
        (
            "reconstruct = \"chooser\"\noverride = [{ target = \"a\", sparsity = 0.5, granularity = { kind = \"block\", rows = 1, cols = 4 } }]",
            "override.0.granularity: reconstruct = \"chooser\" chooses",
        ),
        (
            "reconstruct = \"chooser\"\ngrow = { criterion = \"magnitude\", end = 500 }",
            "reconstruct: weights that change places later",
        ),
    ] {
        let found = problems(&format!("{plain}{more}"));
        assert!(found.len() == 1 && found[0].starts_with(expected), "{expected} in {found:#?}");
    }
}

#[test]
fn numbers_that_are_none_and_keys_that_exclude_each_other_are_refused() {
    for (text, part) in [
        ("sparsity = nan\ncriterion = \"magnitude\"", "sparsity: sparsity NaN is outside [0, 1)"),
        ("sparsity = -0.1\ncriterion = \"magnitude\"", "-0.1 is outside"),
        ("sparsity = \"half\"\ncriterion = \"magnitude\"", "sparsity: \"half\": expected a sparsity"),
        ("criterion = \"magnitude\"", "sparsity is missing"),
        ("sparsity = 0.5", "criterion is missing; there are: magnitude"),
        ("sparsity = 0.5\ncount = 3\ncriterion = \"magnitude\"", "count: 3: sparsity is given too"),
        ("sparsity = 0.6\ngranularity = \"2:4\"\ncriterion = \"magnitude\"", "the N:M pattern has sparsity 0.5"),
        ("allocator = \"uniform\"\ngranularity = \"2:4\"\ncriterion = \"magnitude\"", "leaves nothing to share out"),
        ("sparsity = 0.5\ncriterion = \"magnitude\"\nschedule = { kind = \"iterative\" }", "exactly two of"),
        (
            "sparsity = 0.5\ncriterion = \"magnitude\"\ninitialization = { rewind = { step = 3 } }",
            "rewinds to step 3, after the first pruning at step 0",
        ),
        ("sparsity = 0.5\ncriterion = 3", "expected a name or a table"),
        ("sparsity 0.5", "expected"),
    ] {
        let found = problems(text);
        assert!(found.iter().any(|p| p.contains(part)), "{part} in {found:#?}");
    }
}

#[test]
fn schedules_that_never_prune_or_end_before_they_begin_are_refused() {
    for (schedule, part) in [
        ("sparsity = 0.5\nschedule = { kind = \"iterative\", rounds = 0 }", "rounds: 0: at least 1 round is needed"),
        ("schedule = { kind = \"iterative\", rounds = 0, fraction = 0.2 }", "rounds: 0: at least 1 round is needed"),
        (
            "sparsity = 0.5\nschedule = { kind = \"iterative\", fraction = 0 }",
            "fraction: 0: a round must remove something",
        ),
        ("schedule = { kind = \"iterative\", rounds = 3, fraction = 0 }", "fraction: 0: a round must remove something"),
        (
            "sparsity = 0.5\nschedule = { kind = \"iterative\", fraction = 1e-17 }",
            "fraction: 0.00000000000000001: so little that a round removes nothing",
        ),
        ("sparsity = 0.5\nschedule = { kind = \"iterative\", rounds = 3, every = 0 }", "every: 0: at least 1 step"),
        ("sparsity = 0.5\nschedule = { kind = \"gradual\", end = 9, every = 0 }", "every: 0: at least 1 step"),
        ("sparsity = 0.5\nschedule = { kind = \"gradual\", begin = 9, end = 9 }", "end: 9: must be above begin, 9"),
        ("sparsity = 0.5\nschedule = { kind = \"gradual\", begin = 9, end = 3 }", "end: 3: must be above begin, 9"),
        ("sparsity = 0.5\nschedule = { kind = \"gradual\" }", "a gradual schedule needs `end`"),
        ("sparsity = 0.5\nschedule = { kind = \"one_shot\", at = -1 }", "at: "),
    ] {
        let found = problems(&format!("criterion = \"magnitude\"\n{schedule}"));
        assert!(found.iter().any(|p| p.contains(part)), "{part} in {found:#?}");
    }
}

#[test]
fn problems_show_no_empty_name_and_no_megabytes() {
    let long = "x".repeat(5_000_000);
    for (recipe, part) in [
        ("criterion = \"\"", "criterion: the name of the criterion is empty; there are: magnitude"),
        ("criterion = { name = \"\" }", "criterion: the name of the criterion is empty"),
        ("target.include = [\"fc1\", \"\"]", "target.include: an empty pattern selects nothing"),
        ("target.exclude = [\"\"]", "target.exclude: an empty pattern"),
        ("override = [{ target = \"\", sparsity = 0.1 }]", "override.0.target: an empty pattern"),
        ("\"\" = 1", "(empty): unknown key"),
        ("criterion = \"LONG\"", "unknown criterion \"xxx"),
        ("criterion = { name = \"magnitude\", LONG = 1 }", "unknown field `xxx"),
        ("criterion = { name = \"magnitude\", p = \"LONG\" }", "criterion \"magnitude\": invalid type"),
        ("LONG = 1", "xxx"),
        ("granularity = \"LONG\"", "granularity"),
        ("schedule = \"LONG\"", "schedule.kind"),
        ("rounding = \"LONG\"", "rounding"),
        ("sparsity = LONG", "expected"),
    ] {
        let text = parse(&recipe.replace("LONG", &long)).unwrap_err().to_string();
        assert!(text.contains(part), "{part} in {}", crate::shown::text(&text));
        assert!(text.len() < 10_000, "{recipe}: {} bytes", text.len());
    }
    let many: String = (0..10_000).map(|i| format!("key{i} = 1\n")).collect();
    let text = parse(&many).unwrap_err().to_string();
    assert!(text.len() < 20_000 && text.ends_with("more"), "{}", crate::shown::text(&text));
}

#[test]
fn a_draft_has_the_problems_of_the_same_text() {
    let mut draft = RecipeDraft::<dyn Named> {
        sparsity: Some(f64::NAN),
        criterion: Some(plugins().configure(Magnitude { p: 2.0 })),
        granularity: Some(Granularity::Nm { n: 5, m: 4, along: Default::default() }),
        schedule: ScheduleDraft::Gradual { begin: 9, end: Some(3), every: 0, initial: 1.5, curve: None },
        overrides: vec![OverrideDraft::new("", 0.5), OverrideDraft::default()],
        exclude: vec![Pattern::new("")],
        grow: Some(GrowDraft { fraction: f64::NAN, every: 0, ..GrowDraft::default() }),
        ..RecipeDraft::default()
    };
    let said: Vec<_> = draft.clone().check(&plugins()).unwrap_err().problems.iter().map(ToString::to_string).collect();
    let read = problems(
        "sparsity = nan\ncriterion = { name = \"magnitude\", p = 2.0 }\ngranularity = \"5:4\"\n\
         schedule = { kind = \"gradual\", begin = 9, end = 3, every = 0, initial = 1.5 }\ntarget = { exclude = [\"\"] }\n\
         override = [{ target = \"\", sparsity = 0.5 }, {}]\ngrow = { fraction = -1.0, every = 0 }",
    );
    assert_eq!(said.join("\n").replace("fraction: NaN", "fraction: -1"), read.join("\n"));
    assert_eq!(said.len(), 13, "{said:#?}");
    // Mended, it is the recipe that it says.
    draft.sparsity = Some(0.5);
    draft.granularity = None;
    draft.schedule = ScheduleDraft::default();
    draft.overrides.clear();
    draft.exclude.clear();
    draft.grow = None;
    let text = "sparsity = 0.5\ncriterion = { name = \"magnitude\", p = 2.0 }";
    assert_eq!(draft.check(&plugins()).unwrap().to_toml(), parse(text).unwrap().to_toml());
}

#[test]
fn problems_are_told_in_the_order_of_the_documentation() {
    let found = problems(
        "zeta = 1\nrounding = 3\ncount = 2\nsparsity = 0.5\noverride = [{ sparsity = 0.1 }, { target = \"a\" }]\n\
         grow = { every = 0, zeta = 1 }\ncriterion = \"magnitud\"",
    );
    let paths: Vec<_> = found.iter().map(|problem| problem.split(": ").next().unwrap_or_default()).collect();
    let expected = ["count", "criterion", "rounding", "override.0", "override.1"];
    assert_eq!(paths[..5], expected, "{found:#?}");
    assert!(paths[5..8].iter().all(|path| path.starts_with("grow")), "{found:#?}");
    assert_eq!(paths[paths.len() - 2..], ["grow.zeta", "zeta"]);
}
