//! Roots, logarithms and powers of decimals, to the last digits that a decimal holds, the same on every
//! machine. `None`: the result is not real, or does not fit.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

/// The natural logarithm of two.
const LN_2: Decimal = Decimal::from_parts(2_860_148_159, 2_180_329_217, 375_755_839, false, 28);

/// e to the power of `x`.
pub fn exp(x: Decimal) -> Option<Decimal> {
    // x = k ln 2 + y with y near zero, so that the series is short.
    let halvings = x.checked_div(LN_2)?.round();
    let y = x.checked_sub(halvings.checked_mul(LN_2)?)?;
    let (mut sum, mut term) = (Decimal::ONE, Decimal::ONE);
    for n in 1..60_u32 {
        term = term.checked_mul(y)?.checked_div(Decimal::from(n))?;
        if term.is_zero() {
            break;
        }
        sum = sum.checked_add(term)?;
    }
    // 96 bits are all that a decimal has.
    let power = halvings.abs().to_u32().filter(|k| *k < 96).map(|k| 1_i128 << k);
    let power = power.and_then(|n| Decimal::try_from_i128_with_scale(n, 0).ok());
    match (halvings.is_sign_negative(), power) {
        (false, power) => sum.checked_mul(power?),
        (true, Some(power)) => sum.checked_div(power),
        (true, None) => Some(Decimal::ZERO),
    }
}

/// The natural logarithm of a positive number.
pub fn ln(x: Decimal) -> Option<Decimal> {
    if x <= Decimal::ZERO {
        return None;
    }
    // x = m × 2^k with m near one; ln m = 2 artanh((m - 1) / (m + 1)).
    let (low, high) = (Decimal::new(7, 1), Decimal::new(14, 1));
    let (mut m, mut k) = (x, Decimal::ZERO);
    while m > high {
        m = m.checked_div(Decimal::TWO)?;
        k += Decimal::ONE;
    }
    while m < low {
        m = m.checked_mul(Decimal::TWO)?;
        k -= Decimal::ONE;
    }
    let z = (m - Decimal::ONE).checked_div(m + Decimal::ONE)?;
    let square = z.checked_mul(z)?;
    let (mut sum, mut power) = (Decimal::ZERO, z);
    for n in (1..121_u32).step_by(2) {
        let term = power.checked_div(Decimal::from(n))?;
        if term.is_zero() {
            break;
        }
        sum = sum.checked_add(term)?;
        power = power.checked_mul(square)?;
    }
    sum.checked_mul(Decimal::TWO)?.checked_add(k.checked_mul(LN_2)?)
}

/// `base` to any power, of a base that is not negative.
pub fn pow(base: Decimal, exponent: Decimal) -> Option<Decimal> {
    if base.is_zero() {
        return (exponent > Decimal::ZERO).then_some(Decimal::ZERO);
    }
    if exponent == Decimal::ONE {
        return Some(base).filter(|base| base.is_sign_positive());
    }
    exp(ln(base)?.checked_mul(exponent)?)
}

/// The root of a number that is not negative.
pub fn sqrt(x: Decimal) -> Option<Decimal> {
    if x.is_zero() {
        return Some(Decimal::ZERO);
    }
    let mut root = exp(ln(x)?.checked_div(Decimal::TWO)?)?;
    for _ in 0..2 {
        if root.is_zero() {
            return Some(root);
        }
        root = root.checked_add(x.checked_div(root)?)?.checked_div(Decimal::TWO)?;
    }
    Some(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        crate::money::parse_decimal(text).unwrap()
    }

    fn near(left: Decimal, right: Decimal) -> bool {
        (left - right).abs() <= right.abs() * d("1e-22") + d("1e-27")
    }

    #[test]
    fn functions_agree_with_tables_to_the_twentieth_digit() {
        for (x, y) in [
            ("1", "2.7182818284590452353602874714"),
            ("-1", "0.3678794411714423215955237702"),
            ("10", "22026.465794806716516957900645"),
            ("0", "1"),
            ("0.001", "1.0010005001667083416680557540"),
        ] {
            assert!(near(exp(d(x)).unwrap(), d(y)), "exp {x}");
            assert!(near(ln(d(y)).unwrap(), d(x)), "ln {y}");
        }
        assert!(near(ln(d("2")).unwrap(), d("0.6931471805599453094172321215")));
        assert!(near(sqrt(d("2")).unwrap(), d("1.4142135623730950488016887242")));
        assert!(near(sqrt(d("365")).unwrap(), d("19.104973174542800179168295752")));
        assert!(near(pow(d("1.5"), d("2.5")).unwrap(), d("2.7556759606310753604719445840")));
        assert!(near(pow(d("1.01"), d("365")).unwrap(), d("37.783434332887158877616604797")));
    }

    #[test]
    fn what_does_not_fit_or_is_not_real_is_none() {
        assert_eq!(exp(d("70")), None);
        assert_eq!(exp(d("-70")), Some(Decimal::ZERO));
        assert_eq!((ln(Decimal::ZERO), ln(d("-1")), sqrt(d("-4"))), (None, None, None));
        assert_eq!((pow(Decimal::ZERO, d("2")), pow(Decimal::ZERO, Decimal::ZERO)), (Some(Decimal::ZERO), None));
        assert_eq!(pow(d("1000000"), d("365")), None);
        assert!(exp(Decimal::MAX).is_none() && ln(Decimal::MAX).is_some() && sqrt(Decimal::MAX).is_some());
    }
}
