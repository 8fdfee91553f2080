//! Bad input: recipes that are wrong by themselves, and recipes that are wrong for a model. Each is an error with path, value
//! and advice, and the model is what it was.

mod advice;
mod names;
mod reports;

use burn::tensor::Device;
use pruning_burn::Pruner;
use pruning_burn::mask::masks;
use pruning_burn::plugin::Plugins;
use pruning_tests::models::{Cnn, Mlp};
use pruning_tests::values::{base, same_bits};

/// What is wrong with a recipe by itself.
fn problems(recipe: &str) -> String {
    Pruner::from_toml(recipe, &pruning_plugins::all()).unwrap_err().to_string()
}

/// What is wrong with a recipe for a model.
fn refused(recipe: &str) -> String {
    let mut model = Cnn::new(&Device::flex(), 1);
    let before = base(&model);
    let pruner = Pruner::from_toml(recipe, &pruning_plugins::all()).unwrap();
    let error = pruner.prune(&mut model, None).unwrap_err().to_string();
    assert!(same_bits(&base(&model), &before) && masks(&model).is_empty(), "{recipe}");
    // What needs no scores to be seen is seen when a session starts, and not in its first pruning.
    match pruner.start(&mut model) {
        Err(other) => assert_eq!(other.to_string(), error, "{recipe}"),
        Ok(_) => assert!(error.contains("asked to"), "{error}"),
    }
    error
}

#[test]
fn the_real_plugins_are_known_and_unknown_ones_are_suggested() {
    let text = problems(
        "sparsity = 0.5\ncriterion = \"magnitud\"\nallocator = \"globl\"\n\
                         schedule = { kind = \"gradual\", end = 5, curve = \"cubc\" }",
    );
    insta::assert_snapshot!(text, @r#"
    3 problems in the recipe:
      criterion: unknown criterion "magnitud", did you mean "magnitude"?; there are: activation, apoz, bn_scale, fisher, fpgm, gradient, grasp, head_importance, hrank, l2_relative, magnitude, movement, random, ria, snip, synflow, taylor, wanda. A plugin of another crate must be linked: call its `register`
      allocator: unknown allocator "globl", did you mean "global"?; there are: budget, erdos_renyi, erk, fixed, global, grouped, lamp, owl, uniform, uniform_plus. A plugin of another crate must be linked: call its `register`
      schedule.curve: unknown curve "cubc", did you mean "cubic"?; there are: cubic, exponential, linear. A plugin of another crate must be linked: call its `register`
    "#);
}

#[test]
fn a_schedule_that_ends_elsewhere_than_its_pattern_is_refused() {
    let text = problems(
        "criterion = \"magnitude\"\ngranularity = \"1:4\"\nschedule = { kind = \"iterative\", rounds = 3, fraction = 0.2 }",
    );
    assert!(
        text.contains("schedule: it ends at a sparsity of 0.48") && text.contains("the N:M pattern has 0.75"),
        "{text}"
    );
}

#[test]
fn a_plugin_of_another_kind_is_told_as_such() {
    let text = problems("sparsity = 0.5\ncriterion = \"cubic\"\nallocator = \"magnitude\"");
    for part in [
        "criterion: criterion \"cubic\": this is the name of a plugin of the kind curve; there are: activation, apoz",
        "allocator: allocator \"magnitude\": this is the name of a plugin of the kind criterion; there are: budget",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn patterns_of_any_length_and_models_of_any_size_make_short_errors() {
    use pruning_burn::PruneError;
    let long = "x".repeat(5_000_000);
    for (key, value) in [("include", long.as_str()), ("exclude", long.as_str())] {
        let text = refused(&format!("criterion = \"magnitude\"\nsparsity = 0.5\n[target]\n{key} = [\"{value}\"]"));
        assert!(
            text.len() < 2000 && text.contains("xxx\"... (5000000 bytes) matches no parameter"),
            "{} bytes",
            text.len()
        );
    }
    let paths = (0..100_000).map(|i| format!("layers.{i}.weight")).collect();
    let text = PruneError::UnknownParameter { path: String::new(), paths }.to_string();
    assert!(text.starts_with("(empty): the model has no such") && text.ends_with("and 99960 more"), "{text}");
}

#[test]
fn without_plugins_a_recipe_says_what_to_link() {
    let error = Pruner::from_toml("sparsity = 0.5\ncriterion = \"magnitude\"", &Plugins::empty()).unwrap_err();
    insta::assert_snapshot!(error.to_string(), @r#"
    2 problems in the recipe:
      criterion: unknown criterion "magnitude"; there are: none. A plugin of another crate must be linked: call its `register`
      allocator: unknown allocator "uniform"; there are: none. A plugin of another crate must be linked: call its `register`
    "#);
}

#[test]
fn plugin_fields_are_checked() {
    for (recipe, part) in [
        ("criterion = { name = \"magnitude\", p = -1 }", "norm order -1 must be at least 0"),
        ("criterion = { name = \"magnitude\", p = nan }", "norm order NaN must be at least 0"),
        ("criterion = { name = \"magnitude\", q = 1 }", "unknown field `q`"),
        ("criterion = { name = \"random\", seed = -1 }", "criterion \"random\""),
        ("criterion = \"magnitude\"\nallocator = { name = \"global\", floor = 1.5 }", "floor 1.5 must be a density"),
        ("criterion = \"magnitude\"\nallocator = { name = \"global\", floor = 0.5, cap = 0.1 }", "cap 0.1 must be"),
        ("criterion = { p = 1 }", "a table here needs a `name`"),
    ] {
        let text = problems(&format!("sparsity = 0.5\n{recipe}"));
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn recipes_that_do_not_fit_the_model_are_refused_whole() {
    let half = "criterion = \"magnitude\"\nsparsity = 0.5\n";
    for (recipe, parts) in [
        (
            format!("{half}[target]\ninclude = [\"conv9\"]"),
            &["target.include \"conv9\" matches no parameter; there are: conv1.weight, conv1.bias"][..],
        ),
        (format!("{half}[target]\nexclude = [\"hed\"]"), &["target.exclude \"hed\" matches no parameter"]),
        (format!("{half}[[override]]\ntarget = \"x.*\"\nsparsity = 0.1"), &["override \"x.*\" matches no parameter"]),
        (format!("{half}[target]\nexclude = [\"*\"]"), &["no parameter is a target"]),
        (
            format!("{half}[target]\nexclude = [\"head\"]\n[[override]]\ntarget = \"head\"\nsparsity = 0.1"),
            &["override \"head\" matches no target"],
        ),
        (
            format!(
                "{half}[[override]]\ntarget = \"head\"\nsparsity = 0.1\n[[override]]\ntarget = \"h*\"\nsparsity = 0.2"
            ),
            &["head.weight: the overrides \"head\" and \"h*\" both match"],
        ),
        (
            "criterion = \"magnitude\"\ngranularity = \"2:4\"".to_string(),
            &[
                "conv1.weight: a fan-in of 3 input channels is not a multiple of 4, which 2:4 needs",
                "exclude the layer",
            ],
        ),
        ("criterion = \"magnitude\"\ncount = 825".to_string(), &["asked to remove 825 units, and 824 remain"]),
        (
            "criterion = \"magnitude\"\nallocator = \"global\"\nsparsity = 0.999".to_string(),
            &["asked to keep 1, but the limits of the layers allow 3 to 824", "allow_empty"],
        ),
        (
            "criterion = \"magnitude\"\nallocator = { name = \"global\", floor = 0.3 }\nsparsity = 0.9".to_string(),
            &["asked to keep 82, but", "change the sparsity, the floor or the cap"],
        ),
    ] {
        let error = refused(&recipe);
        assert!(parts.iter().all(|part| error.contains(part)), "{parts:?} in {error}");
    }
}

#[test]
fn n_above_m_and_sparsities_out_of_range_never_reach_a_model() {
    for (recipe, part) in [
        ("granularity = \"4:2\"", "4:2 is not an N:M pattern"),
        ("granularity = \"0:4\"", "0:4 is not an N:M pattern"),
        ("sparsity = 1.0", "sparsity 1 is outside [0, 1)"),
        ("sparsity = -0.5", "sparsity -0.5 is outside [0, 1)"),
        ("sparsity = nan", "sparsity NaN is outside [0, 1)"),
        ("sparsity = inf", "sparsity inf is outside [0, 1)"),
        ("sparsity = 0.5\nsparsty = 0.4", "sparsty: unknown key, did you mean \"sparsity\"?"),
        ("sparsity = 0.5\n[target]\ninclude = []", "target.include: []: an empty list selects nothing"),
        ("sparsity = 0.5\nallocator = \"uniform\"\nallocator = \"global\"", "duplicate key"),
        ("count = -1", "count: invalid value: integer `-1`"),
    ] {
        let text = problems(&format!("criterion = \"magnitude\"\n{recipe}"));
        assert!(text.contains(part), "{part} in {text}");
    }
    // The builder says the same.
    let built = Pruner::builder().with_criterion(pruning_plugins::magnitude::Magnitude::l1());
    for sparsity in [1.0, -0.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = built.clone().with_sparsity(sparsity).build().unwrap_err().to_string();
        assert!(error.contains("is outside [0, 1)"), "{error}");
    }
}

#[test]
fn a_builder_and_its_recipe_prune_the_same() {
    use pruning_burn::budget::{Amount, Sparsity};
    use pruning_burn::score::Granularity;
    use pruning_plugins::{allocation::Global, magnitude::Magnitude};
    let built = Pruner::builder()
        .with_criterion(Magnitude::l2())
        .with_allocator(Global::within(0.1, 0.9))
        .with_granularity(Granularity::CHANNEL)
        .with_sparsity(0.5)
        .with_exclude("fc9*")
        .with_layer_sparsity("fc2", 0.25);
    // The pattern matches nothing in this model.
    assert!(built.clone().build().unwrap().prune(&mut Mlp::new(&Device::flex(), 1), None).is_err());
    let built = Pruner::builder()
        .with_criterion(Magnitude::l2())
        .with_allocator(Global::within(0.1, 0.9))
        .with_granularity(Granularity::CHANNEL)
        .with_sparsity(0.5)
        .with_layer_sparsity("fc2", 0.25)
        .build()
        .unwrap();
    let written = Pruner::from_toml(&built.recipe().to_toml(), &pruning_plugins::all()).unwrap();
    let pruned = |pruner: &Pruner| {
        let mut model = Mlp::new(&Device::flex(), 1);
        let report = pruner.prune(&mut model, None).unwrap();
        (masks(&model), report)
    };
    assert_eq!(pruned(&built), pruned(&written));
    assert_eq!(pruned(&built).1.layers[1].kept_units, 6);
    // More than remains of a layer.
    let mut model = Mlp::new(&Device::flex(), 1);
    built.prune(&mut model, None).unwrap();
    let error = built.clone().with_amount(Amount::Count(9)).prune(&mut model, None).unwrap_err().to_string();
    assert!(error.contains("asked to remove 9 units, and 8 remain"), "{error}");
    assert!(built.with_amount(Amount::OfRemaining(Sparsity::ZERO)).prune(&mut model, None).is_ok());
}

#[test]
fn the_recipes_of_the_examples_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/recipes");
    let mut sparsities = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let pruner =
            Pruner::from_toml(&text, &pruning_plugins::all()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let printed = pruner.recipe().to_toml();
        assert_eq!(Pruner::from_toml(&printed, &pruning_plugins::all()).unwrap().recipe().to_toml(), printed);
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        sparsities.push((name, pruner.recipe().sparsity().unwrap().value()));
    }
    sparsities.sort_by(|a, b| a.0.cmp(&b.0));
    let names: Vec<_> = sparsities.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["lenet", "lottery_ticket", "one_shot", "shrink"]);
    // Twelve rounds of a fifth.
    assert!((sparsities[1].1 - (1.0 - 0.8f64.powi(12))).abs() < 1e-12, "{sparsities:?}");
}

#[test]
fn growing_is_checked_and_printed_with_its_defaults() {
    let text = problems(
        "sparsity = 0.5\ncriterion = \"magnitude\"\ngranularity = \"channel\"\n\
         grow = { criterion = \"gradent\", fraction = 1.5, anneal = \"sine\", every = 0, evry = 3 }",
    );
    insta::assert_snapshot!(text, @r#"
    7 problems in the recipe:
      grow: single weights come back: it goes with granularity = "element" alone
      grow.criterion: unknown criterion "gradent", did you mean "gradient"?; there are: activation, apoz, bn_scale, fisher, fpgm, gradient, grasp, head_importance, hrank, l2_relative, magnitude, movement, random, ria, snip, synflow, taylor, wanda. A plugin of another crate must be linked: call its `register`
      grow.fraction: 1.5: outside (0, 1], the fraction of the kept weights that is swapped
      grow.anneal: unknown variant `sine`, expected `cosine` or `none`
      grow.every: 0: at least 1 step lies between two updates
      grow: needs `end`, the step before which all updates come
      grow.evry: unknown key, did you mean "every"?; there are: anneal, criterion, end, every, fraction
    "#);
    for (grow, part) in [
        ("{ fraction = 0.3, end = 900 }", "grow: criterion is missing; there are: activation"),
        ("{ criterion = \"random\", fraction = 0, end = 900 }", "grow.fraction: 0: outside (0, 1]"),
        ("{ criterion = \"random\", fraction = -0.1, end = 900 }", "grow.fraction: -0.1: outside (0, 1]"),
        ("{ criterion = \"random\", fraction = nan, end = 900 }", "grow.fraction"),
        ("{ criterion = \"random\", end = 500 }", "grow.end: 500: updates follow the last pruning, at step 700"),
        ("{ criterion = \"random\", end = 800 }", "grow.end: 800: no update is due: the first one is 100 steps after"),
        ("\"random\"", "grow: needs `end`, the step before which all updates come"),
        ("7", "grow: expected a table, not 7"),
    ] {
        let text = problems(&format!(
            "sparsity = 0.5\ncriterion = \"magnitude\"\ngrow = {grow}\nschedule = {{ kind = \"one_shot\", at = 700 }}"
        ));
        assert!(text.contains(part), "{part} in {text}");
    }
    let recipe = "sparsity = 0.9\ncriterion = \"magnitude\"\ngrow = { criterion = \"gradient\", end = 7500 }";
    let pruner = Pruner::from_toml(recipe, &pruning_plugins::all()).unwrap();
    let printed = pruner.recipe().to_toml();
    for part in ["[grow]\nanneal = \"cosine\"\nend = 7500\nevery = 100\nfraction = 0.3\n", "[grow.criterion]\n"] {
        assert!(printed.contains(part), "{part} in {printed}");
    }
    assert_eq!(Pruner::from_toml(&printed, &pruning_plugins::all()).unwrap().recipe().to_toml(), printed);
}

#[test]
fn initializations_are_checked_and_printed() {
    for (given, printed) in [
        ("\"keep\"", "initialization = \"keep\""),
        ("\"rewind\"", "rewind = { step = 0 }"),
        ("{ rewind = { step = 3 } }", "step = 3"),
        ("\"rewind_rate\"", "rewind_rate"),
        ("{ rewind_rate = { step = 4 } }", "step = 4"),
        ("\"reinitialize\"", "initialization = \"reinitialize\""),
    ] {
        let recipe = format!(
            "sparsity = 0.9\ncriterion = \"magnitude\"\ninitialization = {given}\n\
             schedule = {{ kind = \"one_shot\", at = 9 }}"
        );
        let pruner = Pruner::from_toml(&recipe, &pruning_plugins::all()).unwrap();
        let text = pruner.recipe().to_toml();
        let compact = text.replace("[initialization.rewind]\nstep = 0", "rewind = { step = 0 }");
        assert!(compact.contains(printed), "{printed} in {text}");
        assert_eq!(Pruner::from_toml(&text, &pruning_plugins::all()).unwrap().recipe().to_toml(), text);
    }
    let text = problems("sparsity = 0.5\ncriterion = \"magnitude\"\ninitialization = { rewind_rate = { step = 3 } }");
    assert!(text.contains("initialization: rewinds to step 3, after the first pruning at step 0"), "{text}");
    let text = problems("sparsity = 0.5\ncriterion = \"magnitude\"\ninitialization = \"reset\"");
    assert!(text.contains("expected \"keep\", \"rewind\", \"rewind_rate\", \"reinitialize\""), "{text}");
}
