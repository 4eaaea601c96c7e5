//! A failing run, as short as can be.

/// Leaves out what can be left out of `steps` so that they still fail: first halves, then smaller and smaller pieces, down to single steps (Zeller and Hildebrandt, "Simplifying and
/// isolating failure-inducing input", 2002). What is left fails, and no longer does if any single step is left out, unless `tries` ran out before.
///
/// The run must be a function of its steps: each has all that is chosen in it, and says something even where others are missing ("the third of those there are").
///
/// ```
/// let steps: Vec<u32> = (0..100).collect();
/// let fails = |steps: &[u32]| steps.contains(&17) && steps.contains(&71);
/// assert_eq!(ringmill::sim::shrink(steps, 1_000, fails), [17, 71]);
/// ```
///
/// # Panics
/// When `steps` do not fail.
pub fn shrink<S: Clone>(steps: Vec<S>, tries: usize, mut fails: impl FnMut(&[S]) -> bool) -> Vec<S> {
    assert!(fails(&steps), "steps that do not fail cannot be shrunk");
    let (mut steps, mut left) = (steps, tries);
    let mut piece = steps.len().div_ceil(2);
    while piece > 0 {
        let (mut at, mut shorter) = (0, false);
        while at < steps.len() {
            if left == 0 {
                return steps;
            }
            left -= 1;
            let end = (at + piece).min(steps.len());
            let without: Vec<S> = steps[..at].iter().chain(&steps[end..]).cloned().collect();
            if fails(&without) {
                (steps, shorter) = (without, true);
            } else {
                at = end;
            }
        }
        // single steps are tried until none can go; larger pieces once
        piece = if piece > 1 { piece.div_ceil(2) } else { usize::from(shorter) };
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_fails_and_not_one_step_less() {
        let mut tried = 0;
        let steps: Vec<u32> = (0..200).collect();
        // three multiples of 7 in a row of any kind
        let fails = |steps: &[u32]| steps.iter().filter(|step| **step % 7 == 0).count() >= 3;
        let left = shrink(steps, 10_000, |steps| {
            tried += 1;
            fails(steps)
        });
        assert!(left.len() == 3 && fails(&left), "{left:?}");
        assert!(tried < 1_000, "{tried}");
        assert_eq!(shrink(vec![1, 2, 3], 100, |_| true), [] as [i32; 0]);
    }

    #[test]
    fn it_stops_after_so_many_tries_with_something_that_fails() {
        let left = shrink((0..1_000).collect(), 5, |steps: &[i32]| steps.contains(&999));
        assert!(left.contains(&999) && left.len() < 1_000, "{}", left.len());
    }

    #[test]
    #[should_panic(expected = "do not fail")]
    fn what_does_not_fail_is_refused() {
        shrink(vec![1], 10, |_| false);
    }
}
