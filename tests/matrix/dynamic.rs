use crate::pruner;
use crate::survival::train;
use burn::module::Module;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::Device;
use pruning_burn::mask::{Bits, MaskSet, masks};
use pruning_burn::report::Report;
use pruning_burn::score::{CriterionInputs, Need};
use pruning_burn::session::mask_optimizer;
use pruning_burn::store::{load, save};
use pruning_burn::{PruneError, Session};
use pruning_tests::models::Mlp;
use pruning_tests::values::{base, effective, same_bits};
use std::collections::BTreeMap;

fn recipe(grow: &str) -> String {
    format!(
        "sparsity = 0.8\ncriterion = \"magnitude\"\nallocator = \"erk\"\n\
         grow = {{ criterion = \"{grow}\", fraction = 0.4, every = 2, end = 9 }}"
    )
}

fn loss(model: &Mlp, device: &Device) -> burn::tensor::Tensor<1> {
    (model.forward(Mlp::input(6, device)) - 1.0).powi_scalar(2).mean()
}

fn inputs(session: &Session, model: &Mlp, device: &Device) -> CriterionInputs {
    match session.needs() {
        needs if needs.is_empty() => CriterionInputs::new(),
        needs => CriterionInputs::new().with_dense_gradients(model, needs, &[()], |m, ()| loss(m, device)).unwrap(),
    }
}

/// A step of the schedule, and the optimizer after it.
pub(crate) fn advance(
    session: &mut Session,
    model: &mut Mlp,
    optimizer: &mut ModuleOptimizer,
    device: &Device,
) -> Option<Report> {
    let inputs = inputs(session, model, device);
    let report = session.step(model, &inputs).unwrap();
    if report.is_some() {
        *optimizer = session.mask_optimizer(model, optimizer).unwrap();
    }
    report
}

fn kept(masks: &MaskSet) -> Vec<usize> {
    masks.iter().map(|(_, mask)| mask.kept()).collect()
}

/// Bits of the first set that are not in the second.
fn new(now: &MaskSet, before: &MaskSet) -> Vec<(String, Bits)> {
    let new = now.iter().zip(before.iter()).map(|((path, now), (_, before))| {
        let mut new = before.bits().complement();
        new.intersect(now.bits());
        (path.to_string(), new)
    });
    new.collect()
}

pub(crate) fn updates_keep_every_count(device: &Device) {
    let device = device.clone().autodiff();
    for grow in ["random", "gradient"] {
        let mut model = Mlp::new(&device, 1);
        let mut session = pruner(&recipe(grow)).start(&mut model).unwrap();
        let (mut optimizer, mut updates) = (AdamConfig::new().init(), Vec::new());
        let mut all_new = Vec::new();
        for step in 0..12 {
            assert_eq!(session.is_done(), step > 8, "step {step}");
            let (before, values) = (masks(&model), base(&model));
            let due = session.due_update();
            let report = advance(&mut session, &mut model, &mut optimizer, &device);
            assert_eq!(report.is_some(), step == 0 || due.is_some());
            if let (Some(due), Some(report)) = (due, report) {
                let now = masks(&model);
                assert_eq!(kept(&now), kept(&before), "{grow} at {step}");
                assert_eq!((report.step, report.round, report.kept()), (Some(step), None, now_kept(&now)));
                let grown = new(&now, &before);
                let counts: Vec<_> = grown.iter().map(|(_, bits)| bits.count_ones()).collect();
                assert_eq!(report.grown, Some(counts.iter().sum()));
                for ((path, grown), count) in grown.iter().zip(kept(&before)) {
                    let most = (due.fraction * count as f64).round_ties_even() as usize;
                    assert!(grown.count_ones() <= most, "{grow} at {step}: {path}");
                    let old: Vec<f32> = values[path].iter::<f32>().collect();
                    let values: Vec<f32> = base(&model)[path].iter::<f32>().collect();
                    let fits = values.iter().enumerate().all(|(i, v)| {
                        let expected = if grown.get(i) { 0.0f32 } else { old[i] };
                        v.to_bits() == expected.to_bits()
                    });
                    assert!(fits, "{grow} at {step}: grown weights start at zero, others are what they were");
                }
                all_new.push(grown[0].1.to_bools());
                updates.push((due.step, due.number, due.updates, counts.iter().sum::<usize>()));
            }
            model = train(model, &mut optimizer, &device);
        }
        // The end itself has a fraction of zero, and no update.
        assert_eq!(updates.iter().map(|u| u.0).collect::<Vec<_>>(), [2, 4, 6, 8], "{grow}");
        assert!(updates.iter().all(|u| u.2 == 4) && updates[0].3 > 0, "{grow}: {updates:?}");
        assert!(updates[3].3 < updates[0].3, "{grow}: fewer with every update, {updates:?}");
        assert_ne!(all_new[0], all_new[1], "{grow}: not the same ones again");
    }
}

fn now_kept(masks: &MaskSet) -> usize {
    kept(masks).iter().sum()
}

/// Algorithm 1 of RigL, in plain Rust over plain numbers.
fn rigl(weights: &[f32], gradient: &[f32], mask: &Bits, fraction: f64) -> Vec<bool> {
    let mut active: Vec<usize> = mask.iter_ones().collect();
    let count = (fraction * active.len() as f64).round_ties_even() as usize;
    active.sort_by(|&a, &b| weights[b].abs().total_cmp(&weights[a].abs()));
    active.truncate(active.len() - count);
    let mut others: Vec<usize> = (0..weights.len()).filter(|i| !active.contains(i)).collect();
    others.sort_by(|&a, &b| gradient[b].abs().total_cmp(&gradient[a].abs()));
    active.extend(&others[..count]);
    (0..weights.len()).map(|i| active.contains(&i)).collect()
}

pub(crate) fn gradient_growth_is_that_of_rigl(device: &Device) {
    let device = device.clone().autodiff();
    let mut model = Mlp::new(&device, 1);
    let mut session = pruner(&recipe("gradient")).start(&mut model).unwrap();
    let (mut optimizer, mut compared) = (AdamConfig::new().init(), 0);
    for step in 0..9 {
        let before = masks(&model);
        // The gradient of the plain network with zeros in its weights.
        let plain = model.valid().materialize().train();
        let gradients = GradientsParams::from_grads(loss(&plain, &device).backward(), &plain);
        let due = session.due_update();
        advance(&mut session, &mut model, &mut optimizer, &device);
        if let Some(due) = due {
            let fraction = 0.2 * (1.0 + (std::f64::consts::PI * step as f64 / 9.0).cos());
            assert!((due.fraction - fraction).abs() < 1e-12);
            for (path, layer) in [("fc1.weight", &plain.fc1), ("fc2.weight", &plain.fc2)] {
                let numbers = |data: burn::tensor::TensorData| data.iter::<f32>().collect::<Vec<_>>();
                let gradient = numbers(gradients.get::<2>(layer.weight.id).unwrap().into_data());
                let weights = numbers(effective(&plain)[path].clone());
                let expected = rigl(&weights, &gradient, before.get(path).unwrap().bits(), fraction);
                assert_eq!(masks(&model).get(path).unwrap().bits().to_bools(), expected, "{path} at {step}");
                compared += 1;
            }
        }
        model = train(model, &mut optimizer, &device);
    }
    assert_eq!(compared, 8);
}

/// Moments of the parameter, by the name of the tensor.
fn moments(optimizer: &ModuleOptimizer, model: &Mlp) -> BTreeMap<String, Vec<f32>> {
    let id = model.fc1.weight.id.val().to_string();
    let reader = burn_pack::Reader::from_bytes(optimizer.into_bytes().unwrap()).unwrap();
    let tensors = reader.into_tensors().unwrap().into_iter().filter(|t| t.name.split('.').next() == Some(&id));
    let numbers = |bytes: &[u8]| bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    tensors
        .map(|t| (t.name.clone(), numbers(&t.to_bytes().unwrap())))
        .filter(|(_, v): &(_, Vec<f32>)| v.len() == 192)
        .collect()
}

pub(crate) fn weights_come_back_without_velocity(device: &Device) {
    let device = device.clone().autodiff();
    let momentum = Some(MomentumConfig { momentum: 0.9, dampening: 0.0, nesterov: false });
    for (name, mut optimizer) in [
        ("sgd", SgdConfig::new().with_momentum(momentum).init()),
        ("adam", AdamConfig::new().init()),
        ("adamw", AdamWConfig::new().with_weight_decay(0.1).init()),
    ] {
        let mut model = Mlp::new(&device, 1);
        // Dense steps: every weight has a velocity.
        for _ in 0..3 {
            model = train(model, &mut optimizer, &device);
        }
        let dense = moments(&optimizer, &model);
        assert!(!dense.is_empty() && dense.values().all(|m| m.iter().filter(|v| **v != 0.0).count() > 90), "{name}");
        let mut session = pruner(&recipe("gradient")).start(&mut model).unwrap();
        let mut stale = optimizer.clone();
        assert_eq!(moments(&mask_optimizer(&model, &optimizer).unwrap(), &model), dense, "{name}: no mask, no change");
        for step in 0..9 {
            let before = masks(&model);
            let pruned_before = before.get("fc1.weight").unwrap().bits().complement();
            let old = moments(&optimizer, &model);
            if advance(&mut session, &mut model, &mut optimizer, &device).is_some() {
                let mask = masks(&model);
                let mask = mask.get("fc1.weight").unwrap().bits();
                for (moment, values) in moments(&optimizer, &model) {
                    for (i, value) in values.iter().enumerate() {
                        let expected = if mask.get(i) && !pruned_before.get(i) { old[&moment][i] } else { 0.0 };
                        assert_eq!(value.to_bits(), expected.to_bits(), "{name} at {step}: {moment} of weight {i}");
                    }
                }
            }
            stale = mask_optimizer(&model, &stale).unwrap();
            model = train(model, &mut optimizer, &device);
        }
        // The number of steps is no moment: the next step is that of an optimizer that has gone on.
        assert!(moments(&stale, &model).values().flatten().any(|v| *v != 0.0), "{name}");
    }
}

pub(crate) fn gradients_through_masks_grow_nothing(device: &Device) {
    let device = device.clone().autodiff();
    let mut model = Mlp::new(&device, 1);
    let mut session = pruner(&recipe("gradient")).start(&mut model).unwrap();
    session.step(&mut model, None).unwrap();
    session.step(&mut model, None).unwrap();
    assert_eq!(session.needs(), Need::GRADIENT);
    let (before, mask) = (base(&model), masks(&model));
    let error = session.step(&mut model, None).unwrap_err();
    assert!(matches!(&error, PruneError::MissingInputs { criterion, .. } if criterion == "gradient"), "{error}");
    let collected = |m: &Mlp, (): &()| loss(m, &device);
    let masked = CriterionInputs::new().with_gradients(&model, Need::GRADIENT, &[()], collected).unwrap();
    let error = session.step(&mut model, &masked).unwrap_err();
    assert!(matches!(&error, PruneError::MaskedInputs { criterion, .. } if criterion == "gradient"), "{error}");
    assert!(error.to_string().contains("with_dense_gradients"), "{error}");
    assert!(same_bits(&base(&model), &before) && masks(&model) == mask && session.steps() == 2);
    // Collecting changes nothing either, and what was collected densely last counts.
    let dense = masked.with_dense_gradients(&model, Need::GRADIENT, &[()], collected).unwrap();
    assert!(same_bits(&base(&model), &before) && masks(&model) == mask);
    let both = dense.clone().with_gradients(&model, Need::GRADIENT, &[()], collected).unwrap();
    assert!(session.step(&mut model, &both).is_err());
    assert!(session.step(&mut model, &dense).unwrap().is_some());
}

pub(crate) fn resumed_dynamic_training_is_bit_identical(device: &Device) {
    let device = device.clone().autodiff();
    for grow in ["random", "gradient"] {
        let pruner = pruner(&recipe(grow));
        let run = |model: &mut Mlp, session: &mut Session, optimizer: &mut ModuleOptimizer, steps: usize| {
            for _ in 0..steps {
                advance(session, model, optimizer, &device);
                *model = train(model.clone(), optimizer, &device);
            }
        };
        let start = || {
            let mut model = Mlp::new(&device, 1);
            let session = pruner.start(&mut model).unwrap();
            (model, session, AdamConfig::new().init())
        };
        let (mut whole, mut session, mut optimizer) = start();
        run(&mut whole, &mut session, &mut optimizer, 11);
        for cut in [0, 1, 2, 3, 5, 8, 10] {
            let folder = tempfile::tempdir().unwrap();
            let (file, state) = (folder.path().join("model.bpk"), folder.path().join("optimizer.bpk"));
            let (mut model, mut session, mut optimizer) = start();
            run(&mut model, &mut session, &mut optimizer, cut);
            save((&model, &session), &file).unwrap();
            optimizer.save(&state).unwrap();
            let mut resumed = Mlp::new(&device, 99);
            let mut session = load(&file).and_then(|file| file.into_session(&mut resumed, &pruner)).unwrap();
            let mut optimizer = AdamConfig::new().init().load(&state).unwrap();
            run(&mut resumed, &mut session, &mut optimizer, 11 - cut);
            assert_eq!(masks(&resumed), masks(&whole), "{grow}, cut at {cut}");
            assert!(same_bits(&base(&resumed), &base(&whole)), "{grow}, cut at {cut}");
        }
    }
}
