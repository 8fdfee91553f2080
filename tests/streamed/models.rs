//! Modules: what `choose` gives is what `prune` gives.

use crate::file::{File, Stored};
use burn::module::{Module, ModuleMapper, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, Device, Tensor, TensorData};
use pruning_burn::budget::{AllocationError, ChooseError};
use pruning_burn::mask::masks;
use pruning_burn::score::{CriterionError, CriterionInputs, Need};
use pruning_burn::{PruneError, Pruner};
use pruning_plugins::all;
use pruning_tests::models::{numbers, random};

#[derive(Module, Debug)]
struct Net {
    z: Linear,
    c: Conv2d,
    b: Linear,
    d: Conv2d,
}

const SHAPES: [(&str, &[usize]); 4] = [("z", &[24, 40]), ("c", &[16, 8, 3, 3]), ("b", &[40, 24]), ("d", &[8, 8, 3, 3])];

/// Rounded, so that many weights of several layers tie.
fn values(place: usize) -> Vec<f32> {
    let len = SHAPES[place].1.iter().product();
    numbers(len, place as u64 + 1).iter().map(|v| (v * 200.0).round() / 200.0).collect()
}

fn file(dtypes: [DType; 4]) -> File {
    let stored = |i: usize| Stored::new(SHAPES[i].0, SHAPES[i].1, values(i), dtypes[i]);
    File::new((0..4).map(stored).collect())
}

/// Gives each weight the values of the file.
struct Fill<'a> {
    file: &'a File,
    place: usize,
}

impl ModuleMapper for Fill<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let stored = &self.file.all[self.place];
        self.place += 1;
        let (data, device): (TensorData, _) = (stored.data.clone(), param.lazy_device());
        Param::initialized(param.id, Tensor::from_data(data, (&device, stored.data.dtype())))
    }
}

/// The module that the file is of.
fn net(file: &File) -> Net {
    let device = Device::flex();
    let net = Net {
        z: LinearConfig::new(24, 40).with_bias(false).init(&device),
        c: Conv2dConfig::new([8, 16], [3, 3]).with_bias(false).init(&device),
        b: LinearConfig::new(40, 24).with_bias(false).init(&device),
        d: Conv2dConfig::new([8, 8], [3, 3]).with_bias(false).init(&device),
    };
    net.map(&mut Fill { file, place: 0 })
}

fn pruner(recipe: &str) -> Pruner {
    Pruner::from_toml(recipe, &all()).unwrap_or_else(|error| panic!("{recipe}: {error}"))
}

const RECIPES: [&str; 12] = [
    "criterion = \"magnitude\"\nallocator = \"global\"\nsparsity = 0.5",
    "criterion = \"magnitude\"\nallocator = { name = \"global\", floor = 0.4 }\nsparsity = 0.5",
    "criterion = \"magnitude\"\nallocator = \"lamp\"\nsparsity = 0.7",
    "criterion = \"magnitude\"\nallocator = \"owl\"\nsparsity = 0.6",
    "criterion = \"magnitude\"\nallocator = \"budget\"\nsparsity = 0.6\ngranularity = \"channel\"",
    "criterion = \"magnitude\"\nallocator = \"uniform\"\nsparsity = 0.5\ncompare = \"row\"",
    "criterion = \"magnitude\"\nallocator = \"global\"\nsparsity = 0.5\ncompare = \"row\"",
    "criterion = \"magnitude\"\ngranularity = \"2:4\"",
    "criterion = \"magnitude\"\nallocator = \"global\"\nsparsity = 0.5\nreduction = \"l2\"\n\
     granularity = { kind = \"block\", rows = 2, cols = 3 }",
    "criterion = \"l2_relative\"\nallocator = \"global\"\nsparsity = 0.9",
    "criterion = \"random\"\nallocator = \"erk\"\nsparsity = 0.4",
    "criterion = \"magnitude\"\nallocator = \"global\"\nsparsity = 0.5\n[[override]]\ntarget = \"z\"\nsparsity = 0.25\n\
     [[override]]\ntarget = \"d\"\nsparsity = 0\n[[override]]\ntarget = \"b\"\ngranularity = \"channel\"\nsparsity = 0.5",
];

const TYPES: [[DType; 4]; 5] = [
    [DType::F32; 4],
    [DType::F16; 4],
    [DType::BF16; 4],
    [DType::F64; 4],
    [DType::F32, DType::F64, DType::F16, DType::F32],
];

#[test]
fn what_is_chosen_one_layer_at_a_time_is_what_prune_chooses() {
    for dtypes in TYPES {
        for recipe in RECIPES {
            let (pruner, file) = (pruner(recipe), file(dtypes));
            let mut held = net(&file);
            let choices = pruner.choose(&held, None).unwrap();
            let here: Vec<_> = choices.paths().map(|path| choices.mask(path).unwrap().unwrap()).collect();
            let told = choices.report().unwrap();
            drop(choices);
            let report = pruner.prune(&mut held, None).unwrap();
            let (about, expected) = (format!("{recipe}\n{dtypes:?}"), masks(&held));
            assert_eq!(told, report, "{about}");

            let choices = pruner.choose(&file, None).unwrap_or_else(|error| panic!("{about}: {error}"));
            let paths: Vec<_> = choices.paths().map(String::from).collect();
            assert!(paths.iter().eq(expected.iter().map(|(path, _)| path)), "{about}");
            for (path, here) in paths.iter().zip(&here) {
                assert_eq!(Some(here), expected.get(path), "{path}: {about}");
                assert_eq!(choices.mask(path).unwrap().as_ref(), Some(here), "{path}: {about}");
            }
            assert_eq!(choices.report().unwrap(), report, "{about}");
            let most = if dtypes.contains(&DType::F64) { 6 } else { 3 };
            let reads = file.reads();
            assert!((1..=most).contains(&reads), "{reads} reads: {about}");
        }
    }
}

#[test]
fn weights_that_are_gone_stay_gone() {
    let file = file([DType::F32; 4]);
    for recipe in RECIPES {
        let mut held = net(&file);
        pruner("criterion = \"magnitude\"\nallocator = \"uniform\"\nsparsity = 0.2").prune(&mut held, None).unwrap();
        // A layer that an override leaves dense keeps its mask.
        let (pruner, before) = (pruner(recipe), masks(&held));
        let choices = pruner.choose(&held, None).unwrap();
        let chosen: Vec<_> = choices.paths().map(|path| (path.to_string(), choices.mask(path).unwrap())).collect();
        let told = choices.report().unwrap();
        drop(choices);
        assert_eq!(told, pruner.prune(&mut held, None).unwrap(), "{recipe}");
        let after = masks(&held);
        for (path, mask) in chosen {
            let mask = mask.unwrap();
            assert_eq!(Some(&mask), after.get(&path), "{path}: {recipe}");
            assert!(mask.bits().iter_ones().all(|at| before.get(&path).unwrap().bits().get(at)), "{path}: {recipe}");
        }
    }
}

#[test]
fn the_report_reads_what_nobody_asked_for() {
    let (file, recipe) = (file([DType::F16; 4]), RECIPES[0]);
    let choices = pruner(recipe).choose(&file, None).unwrap();
    assert_eq!(file.reads(), 2);
    assert!(choices.mask("z").unwrap().is_none() && choices.mask("z.weight").unwrap().is_some());
    assert_eq!(choices.report().unwrap(), pruner(recipe).prune(&mut net(&file), None).unwrap());
    assert_eq!(file.reads(), 1);
    assert_eq!(choices.report().unwrap().kept(), choices.report().unwrap().weights() / 2);
    assert_eq!(file.reads(), 0);
}

#[test]
fn what_cannot_be_read_or_scored_is_an_error_that_names_it() {
    for read in 1..=3 {
        let mut stored = file([DType::F32; 4]);
        std::sync::Arc::get_mut(&mut stored.all).unwrap()[2].fails = Some(read);
        let choices = pruner(RECIPES[0]).choose(&stored, None);
        let error = if read < 3 {
            choices.map(drop).unwrap_err()
        } else {
            let choices = choices.unwrap();
            assert!(choices.mask("z.weight").is_ok());
            choices.mask("b.weight").unwrap_err()
        };
        assert_eq!(error.to_string(), format!("b.weight: cannot be read: read {read} fails"));
    }
    let mut bad = file([DType::F32; 4]);
    let mut values = values(1);
    values[77] = f32::NAN;
    std::sync::Arc::get_mut(&mut bad.all).unwrap()[1] = Stored::new("c", SHAPES[1].1, values, DType::F32);
    for recipe in RECIPES.iter().filter(|recipe| !recipe.contains("random")) {
        let told = pruner(recipe).choose(&bad, None).and_then(|choices| choices.report()).map(drop);
        let Err(PruneError::Criterion { path, source, .. }) = &told else { panic!("{recipe}: {told:?}") };
        assert!(path == "c.weight" && matches!(**source, CriterionError::NonFinite { .. }), "{recipe}: {told:?}");
    }
    let low = "criterion = \"magnitude\"\nallocator = { name = \"global\", floor = 0.9 }\nsparsity = 0.5";
    let error = pruner(low).choose(&file([DType::F32; 4]), None).map(drop).unwrap_err();
    assert!(
        matches!(error, PruneError::Choose(ChooseError::Allocation(AllocationError::Unreachable { .. }))),
        "{error}"
    );
}

#[test]
fn inputs_of_a_criterion_are_used_and_missed() {
    let wanda = "criterion = \"wanda\"\nallocator = \"global\"\nsparsity = 0.5\n[target]\ninclude = [\"z\", \"b\"]";
    let file = file([DType::F32; 4]);
    let error = pruner(wanda).choose(&file, None).map(drop).unwrap_err();
    assert!(matches!(error, PruneError::MissingInputs { .. }), "{error}");
    let (mut held, norms) = (net(&file), |len| random([len], 5, &Device::flex()).abs());
    let norms = [("z.weight", norms(24)), ("b.weight", norms(40))];
    let inputs = CriterionInputs::new().with_input(Need::INPUT_NORM, &held, norms).unwrap();
    let choices = pruner(wanda).choose(&file, &inputs).unwrap();
    let report = pruner(wanda).prune(&mut held, &inputs).unwrap();
    for (path, mask) in masks(&held).iter() {
        assert_eq!(choices.mask(path).unwrap().as_ref(), Some(mask), "{path}");
    }
    assert_eq!(choices.report().unwrap(), report);
}

#[test]
fn what_does_more_than_choosing_masks_is_refused() {
    let file = file([DType::F32; 4]);
    let magnitude = "criterion = \"magnitude\"\nallocator = \"global\"\nsparsity = 0.5";
    for (key, expected) in [
        ("reconstruct = \"obs\"", "reconstruct = \"obs\" gives"),
        ("reconstruct = \"sparsegpt\"", "reconstruct = \"sparsegpt\" gives"),
        ("reconstruct = \"obs\"\nsequential = true", "prune_with"),
    ] {
        let error = pruner(&format!("{magnitude}\n{key}")).choose(&file, None).map(drop).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
