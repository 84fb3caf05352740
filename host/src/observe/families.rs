//! Writes families of metrics: a name, its meaning, and one sample for each set of labels.

use std::{borrow::Cow, fmt};

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// A label of a metric and its value.
pub(super) type Label<'a> = (&'static str, Cow<'a, str>);

/// One value of a metric: its labels and the number.
pub(super) type Sample<'a> = (Vec<Label<'a>>, f64);

/// A label with this value.
pub(super) fn label<'a>(name: &'static str, value: impl Into<Cow<'a, str>>) -> Label<'a> {
    (name, value.into())
}

/// Writes metrics one after the other.
pub(super) struct Out<'a>(pub(super) DescriptorEncoder<'a>);

impl Out<'_> {
    pub(super) fn gauge<'s>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = Sample<'s>>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Gauge, samples, ConstGauge::new)
    }

    pub(super) fn counter<'s>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = Sample<'s>>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Counter, samples, ConstCounter::new)
    }

    fn family<'s, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl IntoIterator<Item = Sample<'s>>,
        metric: fn(f64) -> M,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, number) in samples {
            metric(number).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
