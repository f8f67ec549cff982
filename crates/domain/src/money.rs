//! Money and sizes: decimal from venue to wire, never a float.
//!
//! On the wire a value is a JSON number with its exact digits. Values that we derive (a product of
//! price and size, a converted fee) are rounded to [`USD_SCALE`] places, half to even, here and
//! nowhere else; what a venue states is kept as stated.

use std::fmt;
use std::str::FromStr;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Decimal places of a derived dollar amount.
pub const USD_SCALE: u32 = 10;

/// A decimal that could not be read or does not fit 96 bits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal number: {0:?}")]
pub struct NotDecimal(pub String);

/// Reads a decimal exactly, in plain or scientific notation, as venues write both.
pub fn parse_decimal(text: &str) -> Result<Decimal, NotDecimal> {
    let text = text.trim();
    let parsed = if text.contains(['e', 'E']) { Decimal::from_scientific(text) } else { Decimal::from_str_exact(text) };
    parsed.map(|d| d.normalize()).map_err(|_| NotDecimal(text.chars().take(64).collect()))
}

/// Reads a decimal from a JSON string or a JSON number without passing through a float.
pub fn decimal_from_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    use serde::de::Error;
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(s) => parse_decimal(&s).map_err(D::Error::custom),
        serde_json::Value::Number(n) => parse_decimal(n.as_str()).map_err(D::Error::custom),
        other => Err(D::Error::custom(format!("expected a decimal, got {other}"))),
    }
}

fn serialize_exact<S: Serializer>(value: Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    let text = value.normalize().to_string();
    let number = serde_json::Number::from_str(&text).map_err(serde::ser::Error::custom)?;
    number.serialize(serializer)
}

macro_rules! decimal_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub Decimal);

        impl $name {
            pub const ZERO: Self = Self(Decimal::ZERO);

            /// The value as stated, trailing zeros dropped.
            pub fn new(value: Decimal) -> Self {
                Self(value.normalize())
            }
        }
        impl FromStr for $name {
            type Err = NotDecimal;
            fn from_str(s: &str) -> Result<Self, NotDecimal> {
                parse_decimal(s).map(Self)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.normalize())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serialize_exact(self.0, serializer)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                decimal_from_json(deserializer).map(Self)
            }
        }
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "number" })
            }
        }
    };
}

decimal_newtype!(
    /// US dollars. The sign is the field's: see `pnl`.
    Usd
);
decimal_newtype!(
    /// A size in units of the base asset. Positive on events, signed on positions (short < 0).
    Qty
);
decimal_newtype!(
    /// Quote units per base unit.
    Price
);
decimal_newtype!(
    /// A figure of an answer, whatever its unit.
    Figure
);

impl Usd {
    /// A derived amount, rounded to [`USD_SCALE`] places, half to even.
    pub fn derived(value: Decimal) -> Self {
        Self(value.round_dp_with_strategy(USD_SCALE, RoundingStrategy::MidpointNearestEven).normalize())
    }

    /// `amount × usd_per_unit`, or `None` when it does not fit.
    pub fn convert(amount: Decimal, usd_per_unit: Decimal) -> Option<Self> {
        amount.checked_mul(usd_per_unit).map(Self::derived)
    }

    pub fn abs(self) -> Self {
        Self(self.0.abs())
    }
}

impl std::ops::Add for Usd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}
impl std::ops::Sub for Usd {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}
impl std::ops::Neg for Usd {
    type Output = Self;
    fn neg(self) -> Self {
        Self((-self.0).normalize())
    }
}
impl std::iter::Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(values: I) -> Self {
        values.fold(Self::ZERO, std::ops::Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_every_digit_from_json_to_json() {
        for (input, output) in [
            ("0.1000", "0.1"),
            ("\"123456789012345678.0123456789\"", "123456789012345678.0123456789"),
            ("1e-7", "0.0000001"),
            ("-0.0", "0"),
            ("2E3", "2000"),
        ] {
            let value: Usd = serde_json::from_str(input).unwrap();
            assert_eq!(serde_json::to_string(&value).unwrap(), output);
        }
    }

    #[test]
    fn what_is_not_a_decimal_is_refused() {
        for input in ["\"NaN\"", "\"\"", "\"1,5\"", "null", "\"0x10\"", "1e400", "\"99999999999999999999999999999999\""]
        {
            assert!(serde_json::from_str::<Usd>(input).is_err(), "{input}");
        }
    }

    #[test]
    fn a_derived_amount_is_rounded_to_ten_places_half_to_even() {
        let round = |s: &str| Usd::derived(parse_decimal(s).unwrap()).to_string();
        assert_eq!(round("0.9021561401688"), "0.9021561402");
        assert_eq!(round("0.00000000005"), "0");
        assert_eq!(round("0.00000000015"), "0.0000000002");
    }
}
