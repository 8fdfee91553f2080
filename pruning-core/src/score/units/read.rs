//! Elements whose scores are not held in memory, but read each time that they are needed.

use crate::caught;
use crate::score::{ElementScores, ScoreError};
use std::fmt;
use std::sync::Arc;

/// The function that takes the scores of all elements of a parameter, and the factor of all of them.
pub type TakeElements<'t> = dyn FnMut(ElementScores<'_>, f32) + 't;

type Read<'a> = dyn Fn(&mut TakeElements<'_>) -> Result<(), ScoreError> + Send + Sync + 'a;

/// How the scores of the elements of a parameter are read.
#[derive(Clone)]
pub(crate) struct ReadElements<'a>(Arc<Read<'a>>);

impl<'a> ReadElements<'a> {
    pub(crate) fn new(read: impl Fn(&mut TakeElements<'_>) -> Result<(), ScoreError> + Send + Sync + 'a) -> Self {
        Self(Arc::new(read))
    }

    /// Reads the scores of `len` elements, and returns what `take` makes of them.
    pub(crate) fn read<R>(&self, len: usize, take: impl FnOnce(ElementScores<'_>, f32) -> R) -> Result<R, ScoreError> {
        let (mut take, mut taken, mut found) = (Some(take), None, None);
        let read = caught(|| {
            (self.0)(&mut |elements, factor| {
                found = Some(elements.values.len());
                if elements.values.len() == len
                    && let Some(take) = take.take()
                {
                    taken = Some(take(elements, factor));
                }
            })
        });
        read.map_err(ScoreError::unread)??;
        taken.ok_or(ScoreError::Length { expected: len, found: found.unwrap_or(0) })
    }
}

impl fmt::Debug for ReadElements<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadElements")
    }
}
