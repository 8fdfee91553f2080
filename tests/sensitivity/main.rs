//! Scans of sensitivities: what they measure, how they go on, what they suggest, and what they refuse.

mod after;
mod suggestions;

use burn::tensor::Device;
use pruning_burn::analyze::sensitivity::{Basis, Scan, Sensitivity, SensitivityError, Suggestion};
use pruning_burn::mask::{masks, report};
use pruning_burn::{PruneError, Pruner};
use pruning_tests::models::{Cnn, Mlp, numbers};
use pruning_tests::values::{base, same_bits};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

fn pruner(recipe: &str) -> Pruner {
    Pruner::from_toml(&format!("criterion = \"magnitude\"\n{recipe}"), &pruning_plugins::all()).unwrap()
}

/// How far the outputs are from those of the dense model; what one layer removes alone never gives exactly the same twice.
fn loss(model: &Mlp) -> f64 {
    let x = Mlp::input(8, &Device::flex());
    let dense = Mlp::new(&Device::flex(), 3).forward(x.clone());
    (model.forward(x) - dense).square().mean().into_scalar::<f64>()
}

fn model() -> Mlp {
    Mlp::new(&Device::flex(), 3)
}

const SPARSITIES: [f64; 4] = [0.2, 0.5, 0.8, 0.9];

fn scan(pruner: &Pruner) -> Scan<'_> {
    Scan::new(pruner).with_sparsities(SPARSITIES)
}

#[test]
fn a_part_is_continued_and_nothing_is_measured_twice() {
    let (pruner, model) = (pruner("sparsity = 0.5"), model());
    let whole = scan(&pruner).run(&model, loss).unwrap();
    let calls = AtomicUsize::new(0);
    let counted = |model: &Mlp| {
        calls.fetch_add(1, Ordering::Relaxed);
        loss(model)
    };
    for threads in [1, 2] {
        // Through a file, with the recipe read anew and another budget in it.
        let mut part: Sensitivity = serde_json::from_str(&serde_json::to_string(&whole).unwrap()).unwrap();
        part.layers[0].points.remove(1);
        part.layers[1].points.clear();
        let again = self::pruner("sparsity = 0.9\nschedule = { kind = \"iterative\", rounds = 3 }");
        calls.store(0, Ordering::Relaxed);
        scan(&again).with_threads(threads).resume(&model, &mut part, counted).unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 5);
        let close = |a: &Sensitivity, b: &Sensitivity| {
            let each = a.layers.iter().zip(&b.layers).flat_map(|(a, b)| a.points.iter().zip(&b.points));
            each.fold(0.0, |far: f64, (a, b)| {
                far.max((a.value - b.value).abs()).max((a.sparsity.value() - b.sparsity.value()).abs())
            })
        };
        assert!(part.layers.iter().all(|l| l.points.len() == 4) && close(&part, &whole) < 1e-12, "{part:?}");
        // More sparsities are added to it.
        calls.store(0, Ordering::Relaxed);
        Scan::new(&again).with_sparsities([0.5, 0.6]).resume(&model, &mut part, counted).unwrap();
        assert_eq!((calls.load(Ordering::Relaxed), part.layers[0].points.len()), (2, 5));
        assert!(part.layers[1].points.is_sorted_by_key(|p| p.sparsity.value()));
    }
}

#[test]
fn progress_tells_every_measurement_and_saves_the_work_before_an_error() {
    let (pruner, model) = (pruner("sparsity = 0.5"), model());
    let before = base(&model);
    for threads in [1, 3] {
        let saved = Mutex::new(None);
        let told = AtomicUsize::new(0);
        let observed = scan(&pruner).with_threads(threads).with_observer(|progress| {
            assert_eq!((progress.total, progress.done), (8, told.fetch_add(1, Ordering::Relaxed) + 1));
            let layer = progress.result.layers.iter().find(|l| l.path == progress.path).unwrap();
            assert_eq!(layer.at(progress.sparsity), Some(progress.value));
            *saved.lock().unwrap() = Some(progress.result.clone());
        });
        // The second layer, from half of its weights on.
        let fails = |model: &Mlp| {
            let removed = masks(model).get("fc2.weight").map_or(0, |mask| mask.len() - mask.kept());
            if removed >= 64 { f64::NAN } else { loss(model) }
        };
        let error = observed.run(&model, fails).unwrap_err();
        assert!(
            matches!(&error, SensitivityError::NotFinite { path, sparsity, value }
            if path == "fc2.weight" && sparsity.value() == 0.5 && value == "NaN"),
            "{error}"
        );
        assert!(error.to_string().starts_with("fc2.weight: the evaluation at sparsity 0.5 gave NaN"), "{error}");
        let mut part = saved.lock().unwrap().clone().unwrap();
        assert_eq!(part.layers[0].points.len(), 4);
        // With an evaluation that gives numbers it goes on.
        scan(&pruner).resume(&model, &mut part, loss).unwrap();
        assert_eq!(part, scan(&pruner).run(&model, loss).unwrap());
    }
    assert!(same_bits(&base(&model), &before));
}

#[test]
fn a_suggestion_is_a_recipe_that_removes_what_it_says() {
    let (pruner, model) = (pruner("sparsity = 0.5\n[[override]]\ntarget = \"fc1\"\nsparsity = 0.1"), model());
    let found = scan(&pruner).run(&model, loss).unwrap();
    let suggestion = found.suggest_for(0.7).unwrap();
    assert!((suggestion.sparsity() - 0.7).abs() < 1e-9, "{suggestion:?}");
    let mut by_value = model.clone();
    let applied = suggestion.apply(&pruner);
    let told = applied.prune(&mut by_value, None).unwrap();
    assert!((told.sparsity() - 0.7).abs() < 2.0 / 320.0, "{told}");
    assert!((applied.recipe().sparsity().unwrap().value() - 0.7).abs() < 1e-9);
    // As text in a recipe file it is the same.
    let text = format!("sparsity = 0.7\n{}", suggestion.to_toml());
    let mut by_text = model.clone();
    self::pruner(&text).prune(&mut by_text, None).unwrap();
    assert_eq!(masks(&by_value), masks(&by_text));
    // And as data.
    let copy: Suggestion = serde_json::from_str(&serde_json::to_string(&suggestion).unwrap()).unwrap();
    assert!((copy.sparsity() - 0.7).abs() < 1e-9);
    // Under a schedule each layer comes to its own sparsity.
    let scheduled = self::pruner("sparsity = 0.5\nschedule = { kind = \"iterative\", rounds = 3 }");
    let mut slowly = model.clone();
    let mut session = suggestion.apply(&scheduled).start(&mut slowly).unwrap();
    while !session.is_done() {
        session.step(&mut slowly, None).unwrap();
    }
    assert_eq!(report(&slowly).unwrap().kept(), told.kept());
}

#[test]
fn layers_with_a_unit_of_their_own_keep_it() {
    let device = Device::flex();
    let model = Cnn::new(&device, 1);
    let recipe = "sparsity = 0.5\n[[override]]\ntarget = \"conv*\"\nsparsity = 0.5\ngranularity = \"channel\"\n\
         [[override]]\ntarget = \"head\"\nsparsity = 0";
    let pruner = pruner(recipe);
    let x = burn::tensor::TensorData::new(numbers(2 * 3 * 64, 4), [2, 3, 8, 8]);
    let x = burn::tensor::Tensor::<4>::from_data(x, &device);
    let y = model.forward(x.clone());
    let far = |model: &Cnn| (model.forward(x.clone()) - y.clone()).square().sum().into_scalar::<f64>();
    let found = Scan::new(&pruner).with_sparsities([0.25, 0.75]).run(&model, far).unwrap();
    let units: Vec<_> = found.layers.iter().map(|l| (l.path.as_str(), l.units, l.weights)).collect();
    assert_eq!(units, [("conv1.weight", 8, 216), ("conv2.weight", 8, 576)]);
    let suggestion = found.suggest_for(0.5).unwrap();
    assert!(suggestion.to_toml().contains("channel"), "{}", suggestion.to_toml());
    let told = suggestion.apply(&pruner).prune(&mut model.clone(), None).unwrap();
    let (head, convs) = told.layers.split_last().unwrap();
    assert!(convs.iter().all(|l| l.granularity == "channel" && l.kept_units < l.units), "{told}");
    // What the recipe leaves dense is not scanned, stays dense, and counts.
    assert_eq!((head.path.as_str(), head.kept), ("head.weight", head.weights));
}

#[test]
fn measurements_that_say_nothing_leave_the_recipe_as_it_is() {
    let recipe = "sparsity = 0.5\nallocator = \"global\"\n[[override]]\ntarget = \"fc1\"\nsparsity = 0.1";
    let (pruner, mut model) = (pruner(recipe), model());
    // By chance the network gets better with fewer weights.
    let found = scan(&pruner).run(&model, |m| 1.0 - masks(m).iter().map(|_| 0.25).sum::<f64>()).unwrap();
    let suggestion = found.suggest_for(0.7).unwrap();
    assert!(matches!(suggestion.basis, Basis::Recipe { .. }), "{suggestion:?}");
    assert!(suggestion.to_string().contains("the allocator of the recipe decides at sparsity 0.7"), "{suggestion}");
    let applied = suggestion.apply(&pruner);
    assert_eq!(applied.recipe().overrides, pruner.recipe().overrides);
    assert_eq!(applied.recipe().sparsity().unwrap().value(), 0.7);
    applied.prune(&mut model, None).unwrap();
}

#[test]
fn the_table_shows_each_layer_and_sparsity() {
    let pruner = pruner("sparsity = 0.5");
    let mut found = scan(&pruner).run(&model(), |m| 1.0 + masks(m).iter().map(|_| 0.25).sum::<f64>()).unwrap();
    found.layers[1].points.remove(0);
    let text = found.to_string();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let expected: [&[&str]; 4] = [
        &["layer", "units", "20", "%", "50", "%", "80", "%", "90", "%"],
        &["fc1.weight", "192", "1.250", "1.250", "1.250", "1.250"],
        &["fc2.weight", "128", "-", "1.250", "1.250", "1.250"],
        &["dense", "1.000;", "each", "layer", "pruned", "alone"],
    ];
    for words in expected {
        assert!(lines.iter().any(|line| line == words), "{words:?} in\n{text}");
    }
}

#[test]
fn what_cannot_be_scanned_is_an_error_before_any_work() {
    let (pruner, model) = (pruner("sparsity = 0.5"), model());
    let none = |_: &Mlp| -> f64 { panic!("nothing is evaluated") };
    let says = |error: SensitivityError, text: &str| assert!(error.to_string().contains(text), "{error}");
    says(Scan::new(&pruner).with_sparsities([]).run(&model, none).unwrap_err(), "no sparsity to scan");
    for bad in [1.0, -0.1, f64::NAN, f64::INFINITY] {
        let error = Scan::new(&pruner).with_sparsities([0.5, bad]).run(&model, none).unwrap_err();
        assert!(matches!(error, SensitivityError::Sparsity(_)));
        says(error, &format!("sparsity {bad} is outside [0, 1)"));
    }
    says(scan(&pruner).with_threads(0).run(&model, none).unwrap_err(), "0 threads");
    let other = self::pruner("sparsity = 0.5\ntarget = { include = [\"fc9\"] }");
    let error = scan(&other).run(&model, none).unwrap_err();
    assert!(matches!(error, SensitivityError::Prune(PruneError::Unmatched { .. })), "{error}");
    let needs = Pruner::from_toml("sparsity = 0.5\ncriterion = \"snip\"", &pruning_plugins::all()).unwrap();
    let error = scan(&needs).run(&model, none).unwrap_err();
    assert!(matches!(error, SensitivityError::Prune(PruneError::MissingInputs { .. })), "{error}");
    for (bad, text) in [(f64::NAN, "gave NaN"), (f64::INFINITY, "gave inf")] {
        says(scan(&pruner).run(&model, move |_| bad).unwrap_err(), text);
    }
}

#[test]
fn a_result_of_something_else_is_not_continued() {
    let (pruner, model) = (pruner("sparsity = 0.5"), model());
    let mut found = scan(&pruner).run(&model, loss).unwrap();
    let none = |_: &Mlp| -> f64 { panic!("nothing is evaluated") };
    let kept = found.clone();
    let error = scan(&pruner).resume(&Mlp::new(&Device::flex(), 4), &mut found, none).unwrap_err();
    assert!(matches!(error, SensitivityError::OtherWeights { .. }), "{error}");
    let mut pruned = model.clone();
    pruner.prune(&mut pruned, None).unwrap();
    let error = scan(&pruner).resume(&pruned, &mut found, none).unwrap_err();
    assert!(matches!(error, SensitivityError::OtherWeights { .. }), "{error}");
    let cnn = |_: &Cnn| -> f64 { panic!("nothing is evaluated") };
    let error = scan(&pruner).resume(&Cnn::new(&Device::flex(), 1), &mut found, cnn).unwrap_err();
    assert!(matches!(&error, SensitivityError::OtherLayers { path } if path == "conv1.weight"), "{error}");
    for (recipe, key) in
        [("criterion = \"random\"", "criterion"), ("criterion = \"magnitude\"\nrounding = \"ceil\"", "rounding")]
    {
        let other = Pruner::from_toml(&format!("sparsity = 0.5\n{recipe}"), &pruning_plugins::all()).unwrap();
        let error = scan(&other).resume(&model, &mut found, none).unwrap_err();
        assert_eq!(error, SensitivityError::OtherRecipe { key: key.to_string() });
    }
    let channels = self::pruner("sparsity = 0.5\ngranularity = \"channel\"");
    let error = scan(&channels).resume(&model, &mut found, none).unwrap_err();
    assert!(matches!(&error, SensitivityError::OtherLayers { path } if path == "fc1.weight"), "{error}");
    assert_eq!(found, kept);
    // The same again measures nothing.
    scan(&pruner).resume(&model, &mut found, none).unwrap();
    assert_eq!(found, kept);
}
