//! An order with its signature, in one text, so that nobody ever has one of them without the other.

use gild_format::signature::{PublicKey, SignatureError, verify_any};
use serde::{Deserialize, Serialize};

use crate::order::{Order, OrderError};

/// Longest signed order that is read, bytes.
pub const MAX_LENGTH: usize = 64 << 10;

/// A JSON object with the order's text and the minisign signature of its bytes. It gives the order only to a caller that names a
/// key which has signed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedOrder {
    order: String,
    signature: String,
}

/// None of these keys gets an order out of it.
#[derive(Debug, thiserror::Error)]
pub enum SignedOrderError {
    /// It is too long.
    #[error("it is longer than {MAX_LENGTH} bytes")]
    Long,
    /// It is not such an object.
    #[error("it is not a signed order: {0}")]
    Form(String),
    /// Nobody who counts has signed it.
    #[error("its signature does not count: {0}")]
    Signature(#[from] SignatureError),
    /// What was signed is not an order.
    #[error(transparent)]
    Order(#[from] OrderError),
}

impl SignedOrder {
    /// Puts an order's text and the text of a `.minisig` file of it together.
    #[must_use]
    pub fn new(order: String, signature: String) -> Self {
        Self { order, signature }
    }

    /// Reads one. What it says is not known before [`SignedOrder::open`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SignedOrderError> {
        if bytes.len() > MAX_LENGTH {
            return Err(SignedOrderError::Long);
        }
        serde_json::from_slice(bytes).map_err(|error| SignedOrderError::Form(error.to_string()))
    }

    /// The text that is handed out.
    #[must_use]
    #[allow(clippy::missing_panics_doc, reason = "it has only texts")]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("it has only texts")
    }

    /// The order, if one of these keys has signed it.
    pub fn open(&self, keys: &[&PublicKey]) -> Result<Order, SignedOrderError> {
        verify_any(keys, self.order.as_bytes(), &self.signature)?;
        Ok(Order::parse(&self.order)?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use minisign::KeyPair;

    use super::*;

    const ORDER: &str = r#"{"gild_order":1,"id":"20261228T101500Z-1a2b3c","action":"hold","nodes":["d8:3a:dd:01:02:03"],"expires":1798452900}"#;

    fn pair() -> (KeyPair, PublicKey) {
        let pair = KeyPair::generate_unencrypted_keypair().expect("a key pair");
        let public = PublicKey::parse(&pair.pk.to_base64()).expect("a key");
        (pair, public)
    }

    fn signed(pair: &KeyPair, text: &str) -> SignedOrder {
        let signature = minisign::sign(Some(&pair.pk), &pair.sk, Cursor::new(text), None, None);
        SignedOrder::new(
            text.to_owned(),
            signature.expect("a signature").into_string(),
        )
    }

    #[test]
    fn an_order_comes_out_for_a_key_that_signed_it_and_for_no_other() {
        let ((own, key), (_, other)) = (pair(), pair());
        let text = signed(&own, ORDER).to_text();
        let read = SignedOrder::parse(text.as_bytes()).expect("a signed order");
        let order = read.open(&[&other, &key]).expect("an order");
        assert_eq!(order.to_text(), ORDER);
        let error = read.open(&[&other]).expect_err("another's");
        assert!(matches!(
            error,
            SignedOrderError::Signature(SignatureError::OtherKey(_))
        ));
        assert!(read.open(&[]).is_err(), "nobody's key");
    }

    #[test]
    fn a_changed_order_and_a_signed_manifest_are_none() {
        let (own, key) = pair();
        let changed = signed(&own, ORDER).to_text().replace("hold", "flash");
        let changed = SignedOrder::parse(changed.as_bytes()).expect("a form");
        let error = changed.open(&[&key]).expect_err("changed");
        assert!(matches!(
            error,
            SignedOrderError::Signature(SignatureError::Mismatch)
        ));
        let manifest = signed(&own, r#"{"format_version":1,"image_id":"rpi5-0"}"#);
        let error = manifest.open(&[&key]).expect_err("a manifest");
        assert!(
            matches!(error, SignedOrderError::Order(OrderError::Form(_))),
            "{error}"
        );
    }

    #[test]
    fn what_is_not_a_signed_order_is_refused() {
        for wrong in [
            &b""[..],
            b"{}",
            b"[]",
            b"{\"order\":\"\",\"signature\":\"\",\"x\":1}",
        ] {
            let error = SignedOrder::parse(wrong).expect_err("no signed order");
            assert!(matches!(error, SignedOrderError::Form(_)), "{error}");
        }
        let long = vec![b' '; MAX_LENGTH + 1];
        assert!(matches!(
            SignedOrder::parse(&long),
            Err(SignedOrderError::Long)
        ));
    }
}
