//! When two values of an object mean the same.

use serde_json::Value;

use crate::catalog::{Bytes, MilliCpu};
use crate::render::object::is_empty;

/// Equal, or two spellings of one quantity or number.
pub fn same(before: &Value, after: &Value) -> bool {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    if before == after {
        return true;
    }
    let (Some(before), Some(after)) = (text(before), text(after)) else {
        return is_empty(before) && is_empty(after);
    };
    let cpu = MilliCpu::parse(&before).ok().zip(MilliCpu::parse(&after).ok());
    let bytes = Bytes::parse(&before).ok().zip(Bytes::parse(&after).ok());
    before == after || cpu.is_some_and(|(a, b)| a == b) || bytes.is_some_and(|(a, b)| a == b)
}
