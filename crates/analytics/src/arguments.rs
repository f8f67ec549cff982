//! Arguments that many questions share, said once: serde can either flatten one struct into another or refuse
//! unknown names, and every question refuses them.

/// A question's `Query`: its own fields, and pieces named by two dots, in the order in which they are shown.
///
/// - `..accounts` accountId, accountIds; `..selection` also portfolioId. Both make a [`crate::select::Wanted`].
/// - `..window` from, to; `..paged_window` those that a cursor stands for; `..day_window` days or instants.
/// - `..ninety_days` days; `..symbols`; `..event_types`; `..cursor`.
/// - Of charts: `..chart_window` from, to; `..steps` intervalMs, maxDataPoints; `..chart_accounts` accountIds,
///   venues, portfolioIds, which make one too.
macro_rules! arguments {
    ($(#[$meta:meta])* pub struct $name:ident { $($body:tt)* }) => {
        $crate::arguments::arguments! { @ $name [$(#[$meta])*] {} $($body)* }
    };
    (@wanted $name:ident $($field:ident)+) => {
        impl<'a> From<&'a $name> for $crate::select::Wanted<'a> {
            fn from(query: &'a $name) -> Self {
                Self { $($field: query.$field.as_deref(),)+ ..Self::default() }
            }
        }
    };
    (@ $name:ident [$($meta:tt)*] {$($fields:tt)*}) => {
        $($meta)*
        pub struct $name { $($fields)* }
    };
    (@ $name:ident $meta:tt {$($fields:tt)*} ..accounts, $($rest:tt)*) => {
        $crate::arguments::arguments! { @wanted $name account_id account_ids }
        $crate::arguments::arguments! { @ $name $meta {$($fields)*} ..named, $($rest)* }
    };
    (@ $name:ident $meta:tt {$($fields:tt)*} ..selection, $($rest:tt)*) => {
        $crate::arguments::arguments! { @wanted $name account_id account_ids portfolio_id }
        $crate::arguments::arguments! { @ $name $meta {$($fields)*} ..named, ..group, $($rest)* }
    };
    (@ $name:ident $meta:tt {$($fields:tt)*} ..named, $($rest:tt)*) => {
        $crate::arguments::arguments! { @ $name $meta {
            $($fields)*
            /// Single visible exchange account id, as list_accounts returns it.
            #[serde(default, deserialize_with = "crate::input::present")]
            #[validate(length(min = 1, max = 128))]
            pub account_id: Option<String>,
            /// Up to 100 ids. When both are omitted (or the list is empty), all visible accounts are queried.
            #[serde(default, deserialize_with = "crate::input::present")]
            #[validate(length(max = 100), custom(function = "crate::select::short_strings"))]
            pub account_ids: Option<Vec<String>>,
        } $($rest)* }
    };
    (@ $name:ident $meta:tt {$($fields:tt)*} ..group, $($rest:tt)*) => {
        $crate::arguments::arguments! { @ $name $meta {
            $($fields)*
            /// A portfolio group: only its accounts and those of every group below it.
            #[serde(default, deserialize_with = "crate::input::present")]
            #[validate(length(min = 1, max = 128))]
            pub portfolio_id: Option<String>,
        } $($rest)* }
    };
    (@ $name:ident $meta:tt {$($fields:tt)*} ..window, $($rest:tt)*) => {
        $crate::arguments::arguments! { @ $name $meta {
            $($fields)*
            /// Inclusive lower bound, ISO 8601 with a zone. Default: days before `to`.
            #[serde(default, deserialize_with = "crate::input::bound")]
            pub from: Option<codash_domain::Timestamp>,
            /// Inclusive upper bound, ISO 8601 with a zone. Default: now.
            #[serde(default, deserialize_with = "crate::input::bound")]
            pub to: Option<codash_domain::Timestamp>,
        } $($rest)* }
    };
    (@ $name:ident $meta:tt {$($fields:tt)*} ..paged_window, $($rest:tt)*) => {
        $crate::arguments::arguments! { @ $name $meta {
            $($fields)*
            /// Inclusive lower bound, ISO 8601 with a zone. Default: 90 days before `to`. Ignored with a cursor.
            #[serde(default, deserialize_with = "crate::input::bound")]
            pub from: Option<codash_domain::Timestamp>,
            /// Inclusive upper bound, ISO 8601 with a zone. Default: now. Ignored with a cursor.
            #[serde(default, deserialize_with = "crate::input::bound")]
            pub to: Option<codash_domain::Timestamp>,
        } $($rest)* }
    };
    (@ $name:ident $meta:tt {$($fields:tt)*} ..day_window, $($rest:tt)*) => {
        $crate::arguments::arguments! { @ $name $meta {
            $($fields)*
            /// Inclusive lower bound: a day in UTC (2026-04-13), or ISO 8601 with a zone. Default: days before `to`.
            #[serde(default, deserialize_with = "crate::input::present")]
            pub from: Option<crate::moment::Moment>,
            /// Inclusive upper bound: a day in UTC, to its last millisecond, or ISO 8601 with a zone. Default: now.
            #[serde(default, deserialize_with = "crate::input::present")]
            pub to: Option<crate::moment::Moment>,
        } $($rest)* }
    };
    (@ $name:ident $meta:tt {$($fields:tt)*} ..ninety_days, $($rest:tt)*) => {
        $crate::arguments::arguments! { @ $name $meta {
            $($fields)*
            /// Length of the window in days when `from` is omitted. Default 90.
            #[serde(default, deserialize_with = "crate::input::whole")]
            #[validate(range(min = 1, max = 365))]
            pub days: Option<i64>,
        } $($rest)* }
    };
    (@ $name:ident $meta:tt {$($fields:tt)*} ..symbols, $($rest:tt)*) => {
        $crate::arguments::arguments! { @ $name $meta {
            $($fields)*
            /// Up to 100 symbols, spelled as answers spell them (BTC-PERP). Empty: all.
            #[serde(default, deserialize_with = "crate::input::present")]
            #[validate(length(max = 100), custom(function = "crate::select::short_strings"))]
            pub symbols: Option<Vec<String>>,
        } $($rest)* }
    };
    (@ $name:ident $meta:tt {$($fields:tt)*} ..event_types, $($rest:tt)*) => {
        $crate::arguments::arguments! { @ $name $meta {
            $($fields)*
            /// Up to 7 event types. Empty: all.
            #[serde(default, deserialize_with = "crate::input::present")]
            #[validate(length(max = 7))]
            pub event_types: Option<Vec<codash_domain::EventType>>,
        } $($rest)* }
    };
    (@ $name:ident $meta:tt {$($fields:tt)*} ..cursor, $($rest:tt)*) => {
        $crate::arguments::arguments! { @ $name $meta {
            $($fields)*
            /// nextCursor of the previous page, unchanged, with the same filters.
            #[serde(default, deserialize_with = "crate::input::present")]
            #[validate(length(min = 1, max = 512))]
            pub cursor: Option<String>,
        } $($rest)* }
    };
    (@ $name:ident $meta:tt {$($fields:tt)*} ..chart_window, $($rest:tt)*) => {
        $crate::arguments::arguments! { @ $name $meta {
            $($fields)*
            /// Inclusive lower bound: milliseconds since 1970, a day in UTC, or ISO 8601 with a zone. Default: 30 days before `to`.
            #[serde(default, deserialize_with = "crate::input::present")]
            pub from: Option<crate::moment::Instant>,
            /// Inclusive upper bound, written like `from`. Default: now.
            #[serde(default, deserialize_with = "crate::input::present")]
            pub to: Option<crate::moment::Instant>,
        } $($rest)* }
    };
    (@ $name:ident $meta:tt {$($fields:tt)*} ..steps, $($rest:tt)*) => {
        $crate::arguments::arguments! { @ $name $meta {
            $($fields)*
            /// Wanted distance of rows. It is rounded up to whole hours, or whole days, that go into a day or a week.
            #[serde(default, deserialize_with = "crate::input::whole")]
            #[validate(range(min = 1))]
            pub interval_ms: Option<i64>,
            /// Most rows of one series: the distance is made longer until they are enough. Default 1500.
            #[serde(default, deserialize_with = "crate::input::whole")]
            #[validate(range(min = 1, max = 20000))]
            pub max_data_points: Option<i64>,
        } $($rest)* }
    };
    (@ $name:ident $meta:tt {$($fields:tt)*} ..chart_accounts, $($rest:tt)*) => {
        $crate::arguments::arguments! { @wanted $name account_ids portfolio_ids venues }
        $crate::arguments::arguments! { @ $name $meta {
            $($fields)*
            /// Up to 100 ids. Empty: all visible accounts.
            #[serde(default, deserialize_with = "crate::input::present")]
            #[validate(length(max = 100), custom(function = "crate::select::short_strings"))]
            pub account_ids: Option<Vec<String>>,
            /// Of these venues alone. Empty: all.
            #[serde(default, deserialize_with = "crate::input::present")]
            #[validate(length(max = 100))]
            pub venues: Option<Vec<codash_domain::Venue>>,
            /// Of these portfolio groups and those below them alone, up to 100 ids. Empty: whatever their group.
            #[serde(default, deserialize_with = "crate::input::present")]
            #[validate(length(max = 100), custom(function = "crate::select::short_strings"))]
            pub portfolio_ids: Option<Vec<String>>,
        } $($rest)* }
    };
    // The derives know an optional field by the word: a type that was matched whole would hide it.
    (@ $name:ident $meta:tt {$($fields:tt)*} $(#[$own:meta])* pub $field:ident: Option<$kind:ty>, $($rest:tt)*) => {
        $crate::arguments::arguments! {
            @ $name $meta { $($fields)* $(#[$own])* pub $field: Option<$kind>, } $($rest)*
        }
    };
    (@ $name:ident $meta:tt {$($fields:tt)*} $(#[$own:meta])* pub $field:ident: $kind:ty, $($rest:tt)*) => {
        $crate::arguments::arguments! { @ $name $meta { $($fields)* $(#[$own])* pub $field: $kind, } $($rest)* }
    };
}

pub(crate) use arguments;
