//! Training the pruned model to imitate the dense one: [`Distillation`].

use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

/// The loss of knowledge distillation, which mixes the soft targets of a teacher with the labels.
///
/// It is `alpha * T^2 * KL(softmax(teacher / T) || softmax(student / T)) + (1 - alpha) * cross_entropy(student, labels)`, each part the
/// mean over the batch. `T^2` keeps the gradients of both parts at the same size (section 2 of the paper).
///
/// ```
/// # use burn::tensor::{Device, Int, Tensor};
/// use pruning_burn::analyze::distillation::Distillation;
/// # let device = Device::flex();
/// let student = Tensor::<2>::from_data([[2.0, 0.0], [0.0, 1.0]], &device);
/// let teacher = Tensor::<2>::from_data([[3.0, 0.0], [0.0, 2.0]], &device);
/// let labels = Tensor::<1, Int>::from_data([0, 1], &device);
/// let distillation = Distillation::default().with_temperature(2.0).with_alpha(0.5);
/// let loss = distillation.loss(student.clone(), teacher.clone(), labels.clone())?;
/// assert!(loss.into_scalar::<f32>() > 0.0);
/// // A student that says the same as its teacher learns from the labels alone.
/// let soft = distillation.soft_loss(teacher.clone(), teacher)?;
/// assert!(soft.into_scalar::<f32>().abs() < 1e-6);
/// # Ok::<(), pruning_burn::analyze::distillation::DistillationError>(())
/// ```
///
/// # Compatible implementations
/// `T * T * F.kl_div(log_softmax(student / T), log_softmax(teacher / T), log_target=True, reduction="batchmean")` and
/// `F.cross_entropy` of torch.
///
/// # References
/// Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015, arXiv:1503.02531
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Distillation {
    /// The number above 0 by which logits are divided; a higher one gives the less likely classes more weight. 4 by default.
    pub temperature: f64,
    /// Weight of the soft targets in the loss, from 0 (labels alone) to 1 (teacher alone). 0.9 by default.
    pub alpha: f64,
}

impl Default for Distillation {
    fn default() -> Self {
        Self { temperature: 4.0, alpha: 0.9 }
    }
}

/// An error of the arguments of [`Distillation::loss`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DistillationError {
    /// The temperature is not a finite number above 0.
    #[error("temperature {value} must be a finite number above 0, such as 4")]
    Temperature {
        /// The temperature.
        value: f64,
    },
    /// The weight of the soft targets is outside `[0, 1]`.
    #[error("alpha {value} is outside [0, 1]: it is the weight of the teacher in the loss")]
    Alpha {
        /// The weight.
        value: f64,
    },
    /// The logits of teacher and student have different shapes.
    #[error("the teacher's logits have shape {teacher:?}, the student's {student:?}: both must be [batch, classes]")]
    Shape {
        /// Shape of the student's logits.
        student: [usize; 2],
        /// Shape of the teacher's logits.
        teacher: [usize; 2],
    },
    /// The number of labels differs from the number of examples.
    #[error("{labels} labels for a batch of {batch}: give one class for each row of logits")]
    Labels {
        /// Number of rows of logits.
        batch: usize,
        /// Number of labels.
        labels: usize,
    },
    /// A label is outside the classes of the logits.
    #[error("label {label} at index {index} is outside the {classes} classes of the logits, which are numbered from 0")]
    Label {
        /// Index of the label in the batch.
        index: usize,
        /// The label.
        label: i64,
        /// Number of columns of the logits.
        classes: usize,
    },
    /// The logits have no rows or no columns.
    #[error("the logits have shape {shape:?}: a loss needs at least one example and one class")]
    Empty {
        /// Shape of the logits.
        shape: [usize; 2],
    },
}

impl Distillation {
    /// Sets the temperature.
    #[must_use]
    pub fn with_temperature(mut self, temperature: f64) -> Self {
        self.temperature = temperature;
        self
    }

    /// Sets the weight of the soft targets.
    #[must_use]
    pub fn with_alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// Returns the loss of a batch.
    ///
    /// The teacher's logits take no gradient, even if they come from a model on an autodiff device. Labels are read from the device, to
    /// check that they are classes of the logits.
    ///
    /// # Shapes
    /// - `student`, `teacher`: `[batch, classes]`, not normalized
    /// - `labels`: `[batch]`
    /// - result: `[1]`
    ///
    /// # Errors
    /// The temperature or weight is out of range, shapes differ, the batch is empty, or a label is outside the classes.
    pub fn loss(
        &self,
        student: Tensor<2>,
        teacher: Tensor<2>,
        labels: Tensor<1, Int>,
    ) -> Result<Tensor<1>, DistillationError> {
        let [batch, classes] = student.dims();
        let soft = self.soft_loss(student.clone(), teacher)?;
        if labels.dims() != [batch] {
            return Err(DistillationError::Labels { batch, labels: labels.dims()[0] });
        }
        let numbers = labels.clone().into_data();
        let wrong =
            numbers.iter::<i64>().enumerate().find(|(_, label)| usize::try_from(*label).map_or(true, |l| l >= classes));
        if let Some((index, label)) = wrong {
            return Err(DistillationError::Label { index, label, classes });
        }
        let hard = log_softmax(student, 1).gather(1, labels.reshape([batch, 1])).mean().neg();
        Ok(soft * self.alpha + hard * (1.0 - self.alpha))
    }

    /// Returns the teacher's part of the loss, which needs no labels: `T^2 * KL(softmax(teacher / T) || softmax(student / T))`.
    ///
    /// It is not multiplied by `alpha`.
    ///
    /// # Shapes
    /// - `student`, `teacher`: `[batch, classes]`, not normalized
    /// - result: `[1]`
    ///
    /// # Errors
    /// The temperature or weight is out of range, shapes differ, or the batch is empty.
    pub fn soft_loss(&self, student: Tensor<2>, teacher: Tensor<2>) -> Result<Tensor<1>, DistillationError> {
        let (t, alpha) = (self.temperature, self.alpha);
        if !(t > 0.0 && t.is_finite()) {
            return Err(DistillationError::Temperature { value: t });
        }
        if !(0.0..=1.0).contains(&alpha) {
            return Err(DistillationError::Alpha { value: alpha });
        }
        if student.dims() != teacher.dims() {
            return Err(DistillationError::Shape { student: student.dims(), teacher: teacher.dims() });
        }
        let [batch, classes] = student.dims();
        if batch == 0 || classes == 0 {
            return Err(DistillationError::Empty { shape: student.dims() });
        }
        let teacher = beside(teacher, &student) / t;
        let (wanted, said) = (log_softmax(teacher.clone(), 1), log_softmax(student / t, 1));
        Ok((softmax(teacher, 1) * (wanted - said)).sum() * (t * t / batch as f64))
    }
}

/// The teacher's logits where the student's are, as a constant.
fn beside(teacher: Tensor<2>, student: &Tensor<2>) -> Tensor<2> {
    let device = student.device();
    let teacher = teacher.without_autodiff().to_device(&device.clone().without_autodiff());
    match student.gradient_checkpointing_strategy() {
        Some(strategy) => Tensor::from_inner(teacher).with_gradient_checkpointing_strategy(strategy),
        None => teacher,
    }
}
