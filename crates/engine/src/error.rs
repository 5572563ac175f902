//! Every way to say no. The contracts render each in their own words; which refusal it is, is decided here.

use stentor_domain::name::Invalid;
use stentor_store::StoreError;

/// A refusal, or a fault of the store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Fields that break rules, all of them.
    #[error("the request breaks rules")]
    Invalid(Vec<Invalid>),
    /// A payload beyond the limit.
    #[error("{0}")]
    TooLarge(Invalid),
    /// There is no such object for this caller: it does not exist, or belongs to somebody else.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The key's role does not allow this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// A root or project key must say which tenant it acts for.
    #[error("the tenant is not named")]
    TenantRequired,
    /// What is there already forbids this.
    #[error("{detail}")]
    Conflict {
        /// A stable word for programs.
        code: &'static str,
        /// A sentence for people.
        detail: String,
    },
    /// The tenant has as many endpoints as it may, or more where another contract allows more.
    #[error("the limit of {0} endpoints is reached")]
    EndpointLimit(u32),
    /// The store's own fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an operation of the engine answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// One field that breaks a rule.
    pub fn invalid(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::Invalid(vec![Invalid::new(field, rule)])
    }

    /// What is there already forbids this.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Conflict {
            code,
            detail: detail.into(),
        }
    }

    /// A uid that another object has.
    pub(crate) fn uid_taken(what: &str) -> Self {
        Self::conflict(
            "uid_taken",
            format!("Another {what} has this uid. Choose another, or change that one."),
        )
    }
}

/// Gathers broken rules, so that a caller hears of all of them at once.
#[derive(Debug, Default)]
pub(crate) struct Check(Vec<Invalid>);

impl Check {
    /// Starts with what is known to be broken already.
    pub(crate) fn knowing(broken: Vec<Invalid>) -> Self {
        Self(broken)
    }

    /// Is a broken rule of this field known?
    pub(crate) fn knows(&self, field: &str) -> bool {
        self.0.iter().any(|known| known.field == field)
    }

    /// Notes a broken rule.
    pub(crate) fn broken(&mut self, field: &str, rule: impl Into<String>) {
        self.0.push(Invalid::new(field, rule));
    }

    /// Notes a broken rule and goes on; `None` where it was broken.
    pub(crate) fn take<T, R: Into<String>>(
        &mut self,
        field: &str,
        checked: std::result::Result<T, R>,
    ) -> Option<T> {
        self.take_checked(checked.map_err(|rule| Invalid::new(field, rule)))
    }

    /// Notes a broken rule that is put into words already.
    pub(crate) fn take_checked<T>(&mut self, checked: std::result::Result<T, Invalid>) -> Option<T> {
        checked.map_err(|fault| self.0.push(fault)).ok()
    }

    /// Notes a broken rule of a list's item, or of the list where no item is at fault.
    pub(crate) fn take_item<T>(
        &mut self,
        field: &str,
        checked: std::result::Result<T, (Option<usize>, String)>,
    ) -> Option<T> {
        match checked {
            Err((Some(at), rule)) => self.take(&format!("{field}.{at}"), Err(rule)),
            Err((None, rule)) => self.take(field, Err(rule)),
            Ok(value) => Some(value),
        }
    }

    /// Refuses where any rule was broken.
    pub(crate) fn done(self) -> Result<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Error::Invalid(self.0))
        }
    }
}
