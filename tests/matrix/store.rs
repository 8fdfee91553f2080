use crate::pruner;
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use pruning_burn::mask::{finish, masks};
use pruning_burn::store::{StoreError, load, save};
use pruning_tests::models::{Cnn, Mlp, Tied, numbers};
use pruning_tests::values::{base, effective, same_bits};
use std::fs;

const RECIPE: &str = "criterion = \"magnitude\"\nsparsity = 0.7";

/// Saves a pruned model, loads it into a fresh one, and compares.
fn round_trip<M: Module>(mut model: M, mut fresh: M) {
    pruner(RECIPE).prune(&mut model, None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("masked.bpk");
    save(&model, &file).unwrap();
    assert!(!same_bits(&base(&fresh), &base(&model)));
    load(&file).and_then(|file| file.into_model(&mut fresh)).unwrap();
    assert!(same_bits(&base(&fresh), &base(&model)), "the dense base comes with it");
    assert!(same_bits(&effective(&fresh), &effective(&model)));
    assert_eq!(masks(&fresh), masks(&model));
    // And again, over a model that is masked already.
    load(&file).and_then(|file| file.into_model(&mut fresh)).unwrap();
    assert_eq!(masks(&fresh), masks(&model));
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(names, ["masked.bpk"], "nothing else is left in the folder");
}

pub(crate) fn masked_models_load_into_fresh_ones(device: &Device) {
    round_trip(Mlp::new(device, 1), Mlp::new(device, 2));
    round_trip(Cnn::new(device, 1), Cnn::new(device, 2));
    round_trip(Tied::new(device, 1), Tied::new(device, 2));
    let trained = device.clone().autodiff();
    round_trip(Cnn::new(&trained, 1), Cnn::new(&trained, 2));
}

pub(crate) fn finished_models_load_in_plain_burn(device: &Device) {
    let mut model = Cnn::new(device, 1);
    pruner(RECIPE).prune(&mut model, None).unwrap();
    let masked = effective(&model);
    finish(&mut model).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, write) in [("ours.bpk", true), ("burn.bpk", false)] {
        let file = folder.path().join(name);
        match write {
            true => save(&model, &file).unwrap(),
            false => model.clone().save_file(&file).unwrap(),
        }
        let fresh = Cnn::new(device, 2).try_load_file(&file).unwrap();
        let same = base(&fresh).iter().all(|(path, data)| data.iter::<f32>().eq(masked[path].iter::<f32>()));
        assert!(same, "{name}");
    }
}

pub(crate) fn running_statistics_are_saved_with_their_last_update(device: &Device) {
    let device = device.clone().autodiff();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("masked.bpk");
    let mut model = Cnn::new(&device, 1);
    pruner("sparsity = 0.5\ncriterion = \"magnitude\"").prune(&mut model, None).unwrap();
    let images = TensorData::new(numbers(2 * 3 * 8 * 8, 5), [2, 3, 8, 8]);
    for updates in 1..3 {
        // In training mode, so it updates the statistics.
        let _ = model.forward(Tensor::from_data(images.clone(), &device));
        save(&model, &file).unwrap();
        let mut loaded = Cnn::new(&device, 2);
        load(&file).and_then(|file| file.into_model(&mut loaded)).unwrap();
        assert!(same_bits(&base(&loaded.valid()), &base(&model.valid())), "after {updates} updates");
    }
    assert_ne!(base(&model.valid())["norm.running_mean"], base(&Cnn::new(&device, 1).valid())["norm.running_mean"]);
}

/// The file of a loaded model may go, or become another one, before its weights are first used.
pub(crate) fn loaded_models_need_their_file_no_more(device: &Device) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.bpk");
    let mut model = Mlp::new(device, 1);
    pruner(RECIPE).prune(&mut model, None).unwrap();
    for gone in [true, false] {
        save(&model, &file).unwrap();
        let mut loaded = Mlp::new(device, 2);
        load(&file).and_then(|file| file.into_model(&mut loaded)).unwrap();
        if gone {
            fs::remove_file(&file).unwrap();
        } else {
            let len = fs::metadata(&file).unwrap().len();
            fs::write(&file, vec![1; len as usize]).unwrap();
        }
        assert!(same_bits(&base(&loaded), &base(&model)));
        assert_eq!(masks(&loaded), masks(&model));
    }
}

/// So may the file of a snapshot that weights were rewound to.
pub(crate) fn rewound_weights_need_their_file_no_more(device: &Device) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("snapshot.bpk");
    let mut model = Mlp::new(device, 1);
    let start = base(&model);
    let recipe = format!("{RECIPE}\ninitialization = \"rewind\"");
    let mut session = pruner(&recipe).start(&mut model).unwrap().with_snapshot_file(&file).unwrap();
    session.step(&mut model, None).unwrap().unwrap();
    fs::remove_file(&file).unwrap();
    assert!(same_bits(&base(&model), &start));
}

pub(crate) fn files_that_do_not_fit_are_refused(device: &Device) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("masked.bpk");
    let mut model = Mlp::new(device, 1);
    pruner(RECIPE).prune(&mut model, None).unwrap();
    save(&model, &file).unwrap();
    let whole = fs::read(&file).unwrap();

    // Another model.
    let mut other = Cnn::new(device, 1);
    let before = base(&other);
    let error = load(&file).and_then(|file| file.into_model(&mut other)).unwrap_err();
    assert!(matches!(error, StoreError::Prune { .. }), "{error}");
    assert!(error.to_string().contains("fc1.weight: the model has no such float parameter"), "{error}");
    assert!(same_bits(&base(&other), &before) && masks(&other).is_empty());

    // The same paths with other shapes.
    #[derive(Module, Debug)]
    struct Wider {
        fc1: burn::nn::Linear,
        fc2: burn::nn::Linear,
    }
    let linear = |i, o| burn::nn::LinearConfig::new(i, o).init(device);
    let mut wider = Wider { fc1: linear(12, 17), fc2: linear(17, 8) };
    let before = base(&wider);
    let error = load(&file).and_then(|file| file.into_model(&mut wider)).unwrap_err();
    assert!(matches!(&error, StoreError::MaskLength { path, expected: 204, found: 192, .. } if path == "fc1.weight"));
    assert!(same_bits(&base(&wider), &before) && masks(&wider).is_empty());
    // As many elements, in another shape: only the record can tell.
    let mut turned = Wider { fc1: linear(16, 12), fc2: linear(8, 16) };
    let error = load(&file).and_then(|file| file.into_model(&mut turned)).unwrap_err();
    assert!(matches!(&error, StoreError::Misfit { .. }), "{error}");
    assert!(masks(&turned).is_empty());

    // Damage of every kind.
    for cut in [0, 1, 7, 40, whole.len() / 2, whole.len() - 1] {
        fs::write(&file, &whole[..cut]).unwrap();
        let mut fresh = Mlp::new(device, 2);
        let before = base(&fresh);
        let error = load(&file).and_then(|file| file.into_model(&mut fresh)).unwrap_err();
        assert!(matches!(error, StoreError::Read { .. }), "cut at {cut}: {error}");
        assert!(error.to_string().contains("masked.bpk"), "{error}");
        assert!(same_bits(&base(&fresh), &before) && masks(&fresh).is_empty());
    }
    let error = load(folder.path().join("absent.bpk")).and_then(|file| file.into_model(&mut model)).unwrap_err();
    assert!(matches!(error, StoreError::Read { .. }), "{error}");

    // A file is either the old or the new one: a write that fails leaves what was there.
    fs::write(&file, &whole).unwrap();
    let error = save(&model, folder.path().join("no/such/folder/masked.bpk")).unwrap_err();
    assert!(matches!(error, StoreError::Write { .. }), "{error}");
    assert!(save(&model, folder.path()).is_err(), "a folder is no file");
    assert_eq!(fs::read(&file).unwrap(), whole);

    // Sessions: none in the file, or one of another recipe.
    let error = load(&file).and_then(|file| file.into_session(&mut Mlp::new(device, 2), &pruner(RECIPE))).unwrap_err();
    assert!(matches!(error, StoreError::NoSession { .. }), "{error}");
    let mut model = Mlp::new(device, 1);
    let session = pruner(RECIPE).start(&mut model).unwrap();
    save((&model, &session), &file).unwrap();
    let other = pruner(&RECIPE.replace("0.7", "0.8"));
    let error = load(&file).and_then(|file| file.into_session(&mut Mlp::new(device, 2), &other)).unwrap_err();
    assert!(matches!(&error, StoreError::OtherRecipe { keys, .. } if keys == &["sparsity"]), "{error}");
}
