//! docs/delivery.md, where it repeats what the domain says.

use stentor_domain::attempt::ErrorClass;

const PAGE: &str = include_str!("../../../../docs/delivery.md");

#[test]
fn the_page_for_receivers_says_what_each_class_of_error_says() {
    let said: Vec<&str> = PAGE
        .lines()
        .skip_while(|line| *line != "## What went wrong")
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .collect();
    let expected = ErrorClass::ALL.map(|class| format!("| `{}` | {} |", class.as_str(), class.sentence()));
    assert_eq!(said, expected);
}
