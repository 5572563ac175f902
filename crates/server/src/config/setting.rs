//! What an option is: its names, its help, its default, and how its text becomes a value.

/// What people see of an option: the part that help, layers and error texts need.
#[derive(Debug)]
pub(crate) struct About {
    /// The key in the file, and the stem of the variable: `listen`, `STENTOR_LISTEN`.
    pub(crate) name: &'static str,
    /// The flag without its dashes. `None` for what must not be seen in a list of processes.
    pub(crate) flag: Option<&'static str>,
    /// What the value looks like: `ADDRESS:PORT`.
    pub(crate) value_name: &'static str,
    /// One or two sentences.
    pub(crate) help: &'static str,
    /// The default as it would be written; parsed like any other text.
    pub(crate) default: Option<&'static str>,
    /// A list: the flag is repeated, the variable has commas, the file has an array.
    pub(crate) is_list: bool,
}

impl About {
    /// The variable of the environment: `STENTOR_LISTEN`.
    pub(crate) fn variable(&self) -> String {
        format!("STENTOR_{}", self.name.to_uppercase())
    }
}

/// Turns the text of an option into its value, or says the rule that the text breaks (and quotes the text only if it
/// cannot hold a secret).
pub(crate) type Parse<T> = fn(&str) -> Result<T, String>;

/// An option with its type.
pub(crate) struct Setting<T> {
    pub(crate) about: About,
    pub(crate) parse: Parse<T>,
}

impl<T> Setting<T> {
    /// An option with one value, whose flag is spelled as its name (`flag` has dashes where `name` has underscores).
    pub(crate) const fn one(
        name: &'static str,
        flag: &'static str,
        value_name: &'static str,
        parse: Parse<T>,
        help: &'static str,
    ) -> Self {
        let about = About {
            name,
            flag: Some(flag),
            value_name,
            help,
            default: None,
            is_list: false,
        };
        Self { about, parse }
    }

    /// An option with any number of values: `name` is the plural, `flag` the singular that is repeated.
    pub(crate) const fn list(
        name: &'static str,
        flag: &'static str,
        value_name: &'static str,
        parse: Parse<T>,
        help: &'static str,
    ) -> Self {
        let about = About {
            name,
            flag: Some(flag),
            value_name,
            help,
            default: None,
            is_list: true,
        };
        Self { about, parse }
    }

    /// An option without a flag: where a secret is kept.
    pub(crate) const fn without_flag(name: &'static str, parse: Parse<T>, help: &'static str) -> Self {
        let about = About {
            name,
            flag: None,
            value_name: "FILE",
            help,
            default: None,
            is_list: false,
        };
        Self { about, parse }
    }

    /// The same option with a default.
    pub(crate) const fn or(mut self, default: &'static str) -> Self {
        self.about.default = Some(default);
        self
    }
}
