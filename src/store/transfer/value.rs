//! Rows as both engines have them, and their digest.

use serde::{Deserialize, Serialize};

use crate::domain::digest::sha256;

/// A value of a column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) enum Value {
    #[default]
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    /// Keys of other rows, in ascending order.
    Keys(Vec<i64>),
}

/// A row, in the order of its table's columns.
pub(in crate::store) type Row = Vec<Value>;

impl Value {
    /// About how many bytes it takes.
    fn size(&self) -> usize {
        match self {
            Self::Null | Self::Int(_) => 8,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Keys(keys) => keys.len() * 8,
        }
    }

    /// Appends it such that no other sequence of values gives the same bytes.
    fn encode(&self, out: &mut Vec<u8>) {
        let mut part = |tag: u8, bytes: &[u8]| {
            out.push(tag);
            out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            out.extend_from_slice(bytes);
        };
        match self {
            Self::Null => part(0, &[]),
            Self::Int(number) => part(1, &number.to_le_bytes()),
            Self::Text(text) => part(2, text.as_bytes()),
            Self::Bytes(bytes) => part(3, bytes),
            Self::Keys(keys) => {
                let bytes: Vec<u8> = keys.iter().flat_map(|key| key.to_le_bytes()).collect();
                part(4, &bytes);
            }
        }
    }
}

/// About how many bytes rows take.
pub(super) fn size(rows: &[Row]) -> usize {
    rows.iter().flatten().map(Value::size).sum()
}

/// A digest of rows in any order: how many, and the sum of their SHA-256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) rows: u64,
    sums: [u64; 4],
}

impl Digest {
    /// Adds rows.
    pub(super) fn add(&mut self, rows: &[Row]) {
        let mut bytes = Vec::new();
        for row in rows {
            bytes.clear();
            row.iter().for_each(|value| value.encode(&mut bytes));
            for (sum, part) in self.sums.iter_mut().zip(sha256(&[&bytes]).chunks_exact(8)) {
                let part = part.try_into().map_or(0, u64::from_le_bytes);
                *sum = sum.wrapping_add(part);
            }
            self.rows += 1;
        }
    }

    /// For people: the beginning is enough to tell two apart.
    pub(super) fn shown(&self) -> String {
        hex::encode(&self.sums.iter().flat_map(|sum| sum.to_le_bytes()).collect::<Vec<_>>()[..8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(rows: &[Row]) -> Digest {
        let mut digest = Digest::default();
        digest.add(rows);
        digest
    }

    #[test]
    fn a_digest_tells_rows_apart_in_any_order() {
        let one = vec![Value::Int(1), Value::Text("a".to_owned())];
        let two = vec![Value::Int(2), Value::Null];
        let both = digest(&[one.clone(), two.clone()]);
        assert_eq!(both, digest(&[two.clone(), one.clone()]));
        for other in [
            vec![one.clone()],
            vec![one.clone(), two.clone(), two.clone()],
            vec![one.clone(), one.clone()],
            vec![one.clone(), vec![Value::Int(2), Value::Text(String::new())]],
            vec![one.clone(), vec![Value::Int(2), Value::Bytes(Vec::new())]],
            vec![one, vec![Value::Int(2), Value::Keys(Vec::new())]],
        ] {
            assert_ne!(both, digest(&other), "{other:?}");
        }
        let parts = |a: &str, b: &str| {
            digest(&[vec![Value::Text(a.to_owned()), Value::Text(b.to_owned())]])
        };
        assert_ne!(parts("ab", "c"), parts("a", "bc"));
    }
}
