//! The table of file kinds: how a small file of each is saved, and what loading it gives.

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::{Linear, LinearConfig};
use burn::store::ModuleRecord;
use burn::tensor::activation::relu;
use burn::tensor::{Bytes, Device, Tensor, TensorData};
use burn_pack::Reader;
use pruning_burn::calibrate::Calibration;
use pruning_burn::learner::Pruned;
use pruning_burn::mask::{masks, undo};
use pruning_burn::rounds::{History, IterativePruning, Round};
use pruning_burn::score::{CriterionInputs, Need};
use pruning_burn::shrink;
use pruning_burn::shrink::{Fields, Shrinker};
use pruning_burn::sparse::{Options, SparseModel};
use pruning_burn::store::{Compact, Loaded, load, save};
use pruning_burn::trace::{Scope, Trace, Values};
use pruning_tests::models::filled;
use pruning_tests::shrinking::{channels, pruner};
use pruning_tests::values::base;
use std::convert::Infallible;
use std::path::{Path, PathBuf};

pub(crate) const MASKED: &str = "sparsity = 0.5\ncriterion = \"magnitude\"";
/// The snapshot is taken at once, and rewound to after three steps.
pub(crate) const REWIND: &str = "sparsity = 0.3\ncriterion = \"magnitude\"\ninitialization = \"rewind\"\n\
                                 schedule = { kind = \"one_shot\", at = 3 }";

/// A kind of file, and one of it.
pub(crate) struct Kind {
    pub(crate) file: PathBuf,
    /// Writes the file.
    pub(crate) save: Box<dyn Fn()>,
    /// What is in the file, as far as it can be told; an error if the file is refused.
    pub(crate) load: Box<dyn Fn() -> Result<String, String>>,
}

/// A kind in a folder of its own.
pub(crate) type Make = fn(&Path) -> Kind;

/// Every kind of file that the library writes.
pub(crate) const KINDS: [(&str, Make); 11] = [
    ("masked model", masked_model),
    ("session", session),
    ("snapshot", snapshot),
    ("rounds", rounds),
    ("smaller model", smaller_burnpack),
    ("smaller model in safetensors", smaller_safetensors),
    ("compact model", compact_model),
    ("sparse model", sparse_model),
    ("reconstructed model", reconstructed_model),
    ("calibration", calibration),
    ("checkpoint of a learner", checkpoint),
];

pub(crate) fn device() -> Device {
    Device::flex()
}

#[derive(Module, Debug)]
pub(crate) struct Net {
    a: Linear,
    b: Linear,
}

impl Net {
    pub(crate) fn new(seed: u64) -> Self {
        let (a, b) =
            (LinearConfig::new(2, 4).init(&device()), LinearConfig::new(4, 1).with_bias(false).init(&device()));
        filled(Self { a, b }, seed)
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.b.forward(relu(self.a.forward(x)))
    }

    fn trace(&self) -> Trace {
        Trace::record(self, Self::record).unwrap()
    }

    fn record(&self, scope: &mut Scope) {
        let x = scope.input(&Tensor::<2>::ones([1, 2], &device()));
        scope.output(self.forward(x));
    }

    pub(crate) fn pruned(seed: u64) -> Self {
        let mut model = Self::new(seed);
        pruner(MASKED).prune(&mut model, None).unwrap();
        model
    }
}

/// All numbers and masks of a model, and what belongs to it.
fn all<M: Module>(model: &M, more: impl std::fmt::Debug) -> String {
    let bits = |(path, data): (String, TensorData)| (path, data.shape().clone(), data.as_bytes().to_vec());
    let numbers: Vec<_> = base(model).into_iter().map(bits).collect();
    let masks: Vec<_> = masks(model).iter().map(|(path, mask)| (path.to_string(), mask.bits().to_bools())).collect();
    format!("{numbers:?} {masks:?} {more:?}")
}

fn said<T>(result: Result<T, impl std::fmt::Display>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

fn kind(
    file: PathBuf,
    save: impl Fn(&Path) + 'static,
    load: impl Fn(&Path) -> Result<String, String> + 'static,
) -> Kind {
    let (to, from) = (file.clone(), file.clone());
    Kind { file, save: Box::new(move || save(&to)), load: Box::new(move || load(&from)) }
}

pub(crate) fn masked_model(folder: &Path) -> Kind {
    let (model, fresh) = (Net::pruned(1), Net::new(9));
    let read = move |file: &Path| {
        let mut fresh = fresh.clone();
        said(load(file).and_then(|file| file.into_model(&mut fresh)))?;
        Ok(all(&fresh, ""))
    };
    kind(folder.join("masked.bpk"), move |file| save(&model, file).unwrap(), read)
}

fn session(folder: &Path) -> Kind {
    let mut model = Net::new(1);
    let mut session = pruner(REWIND).start(&mut model).unwrap();
    session.step(&mut model, None).unwrap();
    let (fresh, pruner) = (Net::new(9), pruner(REWIND));
    let again = folder.join("again.bpk");
    let read = move |file: &Path| {
        let mut fresh = fresh.clone();
        let session = said(load(file).and_then(|file| file.into_session(&mut fresh, &pruner)))?;
        // The same session writes the same file.
        save((&fresh, &session), &again).unwrap();
        Ok(all(&fresh, (session.steps(), std::fs::read(&again).unwrap())))
    };
    kind(folder.join("session.bpk"), move |file| save((&model, &session), file).unwrap(), read)
}

fn snapshot(folder: &Path) -> Kind {
    let file = folder.join("snapshot.bpk");
    let mut model = Net::new(1);
    let session = pruner(REWIND).start(&mut model).unwrap();
    let mut due = session.clone().with_snapshot_file(&file).unwrap();
    (0..3).for_each(|_| assert!(due.step(&mut model, None).unwrap().is_none()));
    let model = model.map(&mut Trained);
    let read = move |_: &Path| {
        let (mut due, mut model) = (due.clone(), model.clone());
        said(due.step(&mut model, None))?;
        Ok(all(&model, ""))
    };
    kind(file, move |file| drop(session.clone().with_snapshot_file(file).unwrap()), read)
}

/// Takes weights elsewhere.
struct Trained;

impl ModuleMapper for Trained {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|values| values + 1.0)
    }
}

fn rounds(folder: &Path) -> Kind {
    let folder = folder.join("rounds");
    let read = |file: &Path| said(History::read(file.parent().unwrap())).map(|history| format!("{history:?}"));
    let save = |file: &Path| {
        let folder = file.parent().unwrap();
        // Files of other kinds are in it too, which those of a killed run would not be.
        ["trained-00.bpk", "trained-01.bpk"].iter().for_each(|name| drop(std::fs::remove_file(folder.join(name))));
        drop(std::fs::remove_file(file));
        let train = |model: Net, _: &mut Round| Ok::<_, Infallible>(model);
        let pruner = pruner(MASKED);
        IterativePruning::new(&pruner).with_folder(folder).run(&mut Net::new(1), train, |_| 0.1 + 0.2).unwrap();
    };
    kind(folder.join("rounds.json"), save, read)
}

fn smaller(file: PathBuf) -> Kind {
    let mut model = Net::new(1);
    let plan = Shrinker::new(&channels(0.5, "")).plan(&model, &model.trace(), None).unwrap();
    shrink::apply(&plan, &mut model, |_, _: &mut Fields| {}, Net::record).unwrap();
    let fresh = Net::new(9);
    let read = move |file: &Path| {
        let mut fresh = fresh.clone();
        let plan = said(load(file).and_then(|file| file.into_smaller(&mut fresh, |_, _: &mut Fields| {})))?;
        Ok(all(&fresh, plan))
    };
    kind(file, move |file| save((&model, &plan), file).unwrap(), read)
}

fn smaller_burnpack(folder: &Path) -> Kind {
    smaller(folder.join("smaller.bpk"))
}

fn smaller_safetensors(folder: &Path) -> Kind {
    smaller(folder.join("smaller.safetensors"))
}

fn compact_model(folder: &Path) -> Kind {
    let layer = |seed| filled(LinearConfig::new(16, 8).init(&device()), seed);
    let (mut model, fresh): (Linear, Linear) = (layer(1), layer(9));
    pruner("sparsity = 0.9\ncriterion = \"magnitude\"").prune(&mut model, None).unwrap();
    let read = move |file: &Path| {
        let mut fresh = fresh.clone();
        said(load(file).and_then(|file| file.into_model(&mut fresh)))?;
        Ok(all(&fresh, ""))
    };
    let save = move |file: &Path| {
        let report = save(Compact(&model), file).unwrap();
        assert!(report.file < report.dense() + 1000, "{report}");
    };
    kind(folder.join("compact.safetensors"), save, read)
}

fn sparse_model(folder: &Path) -> Kind {
    let model = Net::pruned(1);
    let sparse = SparseModel::compile([&model.trace()], &model, &Options::every_product()).unwrap();
    let read = |file: &Path| {
        let sparse = said(load(file).and_then(Loaded::into_sparse_model))?;
        let x = Tensor::<2>::from_floats([[0.3, -0.7]], &device());
        let out: Tensor<2> = sparse.run(Values::new().with(x)).unwrap().get(0).unwrap();
        Ok(format!("{:?} {:?}", out.into_data().as_bytes(), sparse.report()))
    };
    kind(folder.join("sparse.safetensors"), move |file| save(&sparse, file).unwrap(), read)
}

fn calibrated(model: &Net) -> Calibration {
    let x = Tensor::<2>::from_floats([[0.3, -0.7], [0.1, 0.5], [-0.2, 0.9]], &device());
    let needs = Need::INPUT_GRAM | Need::INPUT_NORM | Need::OUTPUT_ZEROS;
    let forward = |model: &Net, x: &Tensor<2>, scope: &mut Scope| {
        let x = scope.input(x);
        scope.output(model.forward(x));
    };
    Calibration::collect(model, needs, [&x], forward).unwrap()
}

fn calibration(folder: &Path) -> Kind {
    let collected = calibrated(&Net::new(1));
    let read = |file: &Path| Ok(format!("{:?}", said(load(file).and_then(Loaded::into_calibration))?));
    kind(folder.join("calibration.safetensors"), move |file| save(&collected, file).unwrap(), read)
}

/// A model with masks that keep the weights from before.
fn reconstructed_model(folder: &Path) -> Kind {
    let mut model = Net::new(1);
    let inputs = CriterionInputs::from(&calibrated(&model));
    pruner(&format!("{MASKED}\nreconstruct = \"obs\"")).prune(&mut model, &inputs).unwrap();
    let read = |file: &Path| {
        let mut loaded = Net::new(9);
        said(load(file).and_then(|file| file.into_model(&mut loaded)))?;
        let masked = all(&loaded, ());
        said(undo(&mut loaded))?;
        Ok(all(&loaded, masked))
    };
    kind(folder.join("reconstructed.bpk"), move |file| save(&model, file).unwrap(), read)
}

/// What Burn's `Learner` does with its model at the end of an epoch.
fn checkpoint(folder: &Path) -> Kind {
    let make = |seed| {
        let mut model = Net::new(seed);
        let session = pruner(REWIND).start(&mut model).unwrap();
        Pruned::new(model, session).unwrap()
    };
    let (model, fresh) = (make(1), make(9));
    let read = move |file: &Path| {
        // Burn reads the record, and may panic at it before anything is loaded.
        let record = std::panic::catch_unwind(|| ModuleRecord::load(file)).map_err(|_| "panics".to_string());
        let loaded = said(fresh.clone().try_load_record(said(record?)?))?;
        let again = loaded.clone().into_record().into_bytes().unwrap();
        Ok(all(loaded.model(), (loaded.session().steps(), contents(again))))
    };
    kind(folder.join("checkpoint.bpk"), move |file| model.clone().into_record().save(file).unwrap(), read)
}

/// A number of all that is in a record, save ids that it draws.
fn contents(record: Bytes) -> u32 {
    let tensors = Reader::from_bytes(record).and_then(Reader::into_tensors).unwrap();
    let content = |tensor: burn_pack::Tensor| [tensor.name.as_bytes(), &tensor.to_bytes().unwrap()].concat();
    crc32fast::hash(&tensors.into_iter().flat_map(content).collect::<Vec<u8>>())
}
