use crate::pruner;
use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::Device;
use burn::tensor::{Tensor, TensorData};
use pruning_burn::rounds::{IterativePruning, Round, redraw_masks, reinitialize, ticket_file};
use pruning_burn::{load, masks};
use pruning_tests::models::{Cnn, numbers};
use pruning_tests::values::{base, same_bits};

const RECIPE: &str = "sparsity = 0.7\ncriterion = \"magnitude\"\nallocator = \"global\"\n\
     initialization = { rewind = { step = 1 } }\nschedule = { kind = \"iterative\", begin = 3, every = 3, rounds = 2 }";

fn images(device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(numbers(2 * 3 * 8 * 8, 5), [2, 3, 8, 8]), device)
}

/// Convolutions and running statistics, which a file must bring back too.
fn train(mut model: Cnn, round: &mut Round, device: &Device) -> Cnn {
    let mut optimizer = AdamConfig::new().init();
    for step in round.rewound_to().unwrap_or(0)..3 {
        round.reached(step, &model);
        let loss = model.forward(images(device)).square().mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.01, model, gradients);
    }
    model
}

fn evaluate(model: &Cnn, device: &Device) -> f64 {
    f64::from(model.forward(images(device)).square().mean().into_scalar::<f32>())
}

pub(crate) fn rounds_go_on_from_a_folder_bit_for_bit(device: &Device) {
    let device = device.clone().autodiff();
    let pruner = pruner(RECIPE);
    let train = |model: Cnn, round: &mut Round| -> Result<Cnn, &'static str> { Ok(train(model, round, &device)) };
    let evaluate = |model: &Cnn| evaluate(model, &device);
    let mut whole = Cnn::new(&device, 1);
    let expected = IterativePruning::new(&pruner).run(&mut whole, train, evaluate).unwrap();
    for cut in 0..=2 {
        let folder = tempfile::tempdir().unwrap();
        let rounds = || IterativePruning::new(&pruner).with_folder(folder.path());
        let fails = |model: Cnn, round: &mut Round| match round.number() == cut {
            true => Err("cut"),
            false => train(model, round),
        };
        assert!(rounds().run(&mut Cnn::new(&device, 1), fails, evaluate).is_err());
        let mut model = Cnn::new(&device, 9);
        let history = rounds().run(&mut model, train, evaluate).unwrap();
        assert_eq!(masks(&model), masks(&whole), "cut in round {cut}");
        assert!(same_bits(&base(&model.valid()), &base(&whole.valid())), "cut in round {cut}");
        for (a, b) in history.rounds.iter().zip(&expected.rounds) {
            assert!((a.evaluation - b.evaluation).abs() < 1e-12, "cut in round {cut}: {a:?}, {b:?}");
        }
    }
}

pub(crate) fn controls_of_a_ticket_stay_on_their_device(device: &Device) {
    let device = device.clone().autodiff();
    let (pruner, folder) = (pruner(RECIPE), tempfile::tempdir().unwrap());
    let mut model = Cnn::new(&device, 1);
    let train = |model: Cnn, round: &mut Round| -> Result<Cnn, &'static str> { Ok(train(model, round, &device)) };
    let evaluate = |model: &Cnn| evaluate(model, &device);
    IterativePruning::new(&pruner).with_folder(folder.path()).run(&mut model, train, evaluate).unwrap();
    let mut ticket = Cnn::new(&device, 2);
    load(&mut ticket, ticket_file(folder.path(), 2)).unwrap();
    let (found, start) = (masks(&ticket), base(&ticket));
    let (mut random, mut redrawn) = (ticket.clone(), ticket);
    redraw_masks(&mut random, 5).unwrap();
    let fresh = Cnn::new(&device, 3);
    reinitialize(&mut redrawn, &fresh).unwrap();
    for ((path, a), (_, b)) in masks(&random).iter().zip(found.iter()) {
        assert_eq!(a.kept(), b.kept(), "{path}");
    }
    assert_ne!(masks(&random), found);
    assert_eq!(masks(&redrawn), found);
    assert!(same_bits(&base(&random), &start) && same_bits(&base(&redrawn), &base(&fresh)));
    for control in [random, redrawn] {
        assert_eq!(control.devices(), vec![device.clone()]);
        assert!(evaluate(&control).is_finite());
    }
}
