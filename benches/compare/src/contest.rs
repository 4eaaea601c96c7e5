//! A contest: subjects that do the same thing in turns, and what is read off each run.

/// Which way a figure is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
}

impl Better {
    /// How many times better `ours` is than `theirs`.
    pub fn ratio(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Better::Higher => ours / theirs,
            Better::Lower => theirs / ours,
        }
    }
}

/// One figure that every run of a contest yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    pub shape: String,
    pub unit: &'static str,
    pub better: Better,
}

impl Metric {
    pub fn new(shape: impl Into<String>, unit: &'static str, better: Better) -> Self {
        Metric { shape: shape.into(), unit, better }
    }
}

/// What a subject is to the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// ringmill, or a part of it.
    Mill,
    /// The peer that everything is measured against.
    Baseline,
    /// What everything is measured against where that is no peer: the bare means that others are built of.
    Yardstick,
    /// What a user might pick instead.
    Peer,
    /// Solves less (one producer, one consumer, broadcast, no cancel, a sketch): shown, and never the best peer.
    Narrow,
}

/// One of those that are compared.
pub struct Subject {
    pub name: String,
    pub role: Role,
    run: Box<dyn FnMut() -> Readings>,
}

/// What one run yields: a value for each metric of its contest, `None` for what the subject cannot do.
pub type Readings = Vec<Option<f64>>;

impl Subject {
    /// A subject whose runs yield several figures. `run` asserts that what it measured was done right.
    pub fn new(name: impl Into<String>, role: Role, run: impl FnMut() -> Readings + 'static) -> Self {
        Subject { name: name.into(), role, run: Box::new(run) }
    }

    /// As [`new`](Self::new), for contests of one metric.
    pub fn of_one(name: impl Into<String>, role: Role, mut run: impl FnMut() -> f64 + 'static) -> Self {
        Self::new(name, role, move || vec![Some(run())])
    }

    pub fn run(&mut self) -> Readings {
        (self.run)()
    }
}

/// Subjects that do the same thing in turns.
pub struct Contest {
    pub suite: &'static str,
    pub shape: String,
    pub metrics: Vec<Metric>,
    pub subjects: Vec<Subject>,
}

impl Contest {
    /// A contest of one metric.
    pub fn new(suite: &'static str, shape: impl Into<String>, unit: &'static str, better: Better) -> Self {
        let shape = shape.into();
        Contest { suite, metrics: vec![Metric::new(shape.as_str(), unit, better)], shape, subjects: Vec::new() }
    }

    /// A contest whose runs yield several figures.
    pub fn of_many(suite: &'static str, shape: impl Into<String>, metrics: Vec<Metric>) -> Self {
        Contest { suite, shape: shape.into(), metrics, subjects: Vec::new() }
    }

    #[must_use]
    pub fn with(mut self, subject: Subject) -> Self {
        self.subjects.push(subject);
        self
    }
}
