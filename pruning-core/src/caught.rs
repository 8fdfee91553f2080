//! Calls of foreign code, which may panic: [`caught`].

use crate::shown;
use std::any::Any;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls a function and returns its result, or the message of its panic.
///
/// Plugins and closures of users are called through this function, so that their panics are errors like any other. The caller must not
/// use what the call left half changed: operations work on copies, and assign at the end.
///
/// # Errors
/// The call panicked.
pub fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| panic_message(&*panic))
}

/// Formats a plugin by its `Debug`, which may panic too.
pub(crate) fn printed(plugin: &(impl Debug + ?Sized)) -> String {
    caught(|| shown::debug(plugin)).unwrap_or_else(|_| "that cannot be printed".to_string())
}

/// Returns the message of a panic.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.map_or_else(|| "no message".to_string(), shown::text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_by_its_own_message() {
        assert_eq!(caught(|| 7), Ok(7));
        assert_eq!(caught(|| panic!("as text")), Err::<(), _>("as text".to_string()));
        assert_eq!(caught(|| panic!("with {}", "arguments")), Err::<(), _>("with arguments".to_string()));
        assert_eq!(caught(|| std::panic::panic_any(7)), Err::<(), _>("no message".to_string()));
    }
}
