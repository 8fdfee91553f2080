//! The sparsity as a metric of a training: [`SparsityMetric`].

use crate::learner::State;
use burn::tensor::TensorReadError;
use burn_train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry, SerializedEntry,
};
use std::sync::{Arc, Mutex, PoisonError};

/// A metric that shows the sparsity of the targets of a [`Pruned`](super::Pruned) model, in percent.
#[derive(Clone, Debug)]
pub struct SparsityMetric {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) now: Option<f64>,
}

impl SparsityMetric {
    fn entry(&self) -> SerializedEntry {
        let percent = self.now.unwrap_or_default();
        SerializedEntry::new(format!("{percent:.2} %"), format!("{percent},1"))
    }
}

impl Metric for SparsityMetric {
    type Input = ();

    fn name(&self) -> MetricName {
        Arc::new("Sparsity".to_string())
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: Some("%".to_string()), higher_is_better: true }.into()
    }

    fn update(&mut self, (): &(), _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        self.now = Some(100.0 * self.state.lock().unwrap_or_else(PoisonError::into_inner).sparsity);
        Ok(self.entry())
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.entry())
    }

    fn clear(&mut self) {
        self.now = None;
    }
}

impl Numeric for SparsityMetric {
    fn value(&self) -> Option<NumericEntry> {
        self.now.map(NumericEntry::Value)
    }

    fn running_value(&self) -> Option<NumericEntry> {
        self.value()
    }

    fn final_value(&self) -> NumericEntry {
        NumericEntry::Value(self.now.unwrap_or_default())
    }
}
