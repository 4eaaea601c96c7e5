//! Drawings are well-formed, whatever the names.

use super::*;
use std::collections::BTreeSet;

/// A topology of names that no drawing language likes, with every kind of edge.
fn nasty() -> Topology {
    let text = r#"
exchanges:
  - { name: '<"&\>', type: topic, alternate: "]]>", bindings: [{ routing_key: '"<a>".&', queue: "q\"<&", priority: 1 }, { routing_key: "é.#", queue: "\u0001" }] }
  - { name: "]]>", type: direct, alternate: end }
  - { name: end, type: direct }
queues:
  - { name: "q\"<&", dlq: "--> \\" }
  - { name: "--> \\", retention: 7d, dead_letter_exchange: end, dead_letter_routing_key: "<key>" }
  - { name: "\u0001" }
"#;
    yaml(text).unwrap_or_else(|error| panic!("{error}"))
}

/// The texts between tags. Panics where a tag, an attribute or an entity is not well-formed.
fn texts(svg: &str) -> Vec<String> {
    let (mut open, mut texts, mut rest) = (Vec::new(), Vec::new(), svg.trim_end());
    while let Some((text, after)) = rest.split_once('<') {
        assert!(!text.contains(['>', '"']) || text.trim().is_empty(), "{text:?}");
        for entity in text.split('&').skip(1) {
            assert!(["amp;", "lt;", "gt;", "quot;"].iter().any(|known| entity.starts_with(known)), "{entity:?}");
        }
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        if !text.trim().is_empty() {
            texts.push(text.to_owned());
        }
        let (tag, after) = after.split_once('>').expect("a tag ends");
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "in {tag:?}");
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag:?}");
        assert!(!tag.contains('<'));
        let name = tag.split([' ', '/']).next().unwrap();
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty() && rest.is_empty(), "{open:?} {rest:?}");
    texts
}

#[test]
fn an_svg_is_well_formed_whatever_the_names() {
    let topology = nasty();
    let svg = topology.to_svg();
    let texts = texts(&svg);
    for shown in ["&lt;&quot;&amp;\\&gt;", "q&quot;&lt;&amp;", "--&gt; \\", "]]&gt;", "&lt;key&gt;", "unroutable", "dead", "\u{fffd}"] {
        assert!(texts.iter().any(|text| text == shown), "{shown} is not in {texts:?}");
    }
    // three exchanges, three queues and the ground; six edges and the arrow
    assert_eq!((svg.matches("<rect ").count(), svg.matches("<path ").count()), (7, 7));
    texts_of_an_empty_one();
}

fn texts_of_an_empty_one() {
    assert_eq!(texts(&Topology::new().to_svg()), Vec::<String>::new());
}

#[test]
fn bindings_between_two_boxes_are_one_edge_with_their_keys_below_each_other() {
    let bindings: Vec<String> = (0..6).map(|n| format!("{{ routing_key: key{n}, queue: q }}")).collect();
    let text = format!("exchanges: [{{ name: x, type: direct, bindings: [{}] }}]\nqueues: [{{ name: q }}]", bindings.join(", "));
    let svg = yaml(&text).unwrap().to_svg();
    assert_eq!(svg.matches("marker-end").count(), 1);
    let texts = texts(&svg);
    assert_eq!(texts[..5], ["key0", "key1", "key2", "key3", "and 2 more"]);
    let heights: BTreeSet<&str> = svg.lines().filter(|line| line.contains("middle")).map(|line| line.split('"').nth(3).unwrap()).collect();
    assert_eq!(heights.len(), 5, "no label lies on another");
}

#[test]
fn boxes_lie_side_by_side_and_within_the_drawing() {
    let svg = full().to_svg();
    let number = |rect: &str, name: &str| -> u32 {
        let at = rect.find(&format!(" {name}=\"")).unwrap() + name.len() + 3;
        rect[at..].split('"').next().unwrap().parse().unwrap()
    };
    let rects: Vec<[u32; 4]> =
        svg.split("<rect ").skip(2).map(|rect| ["x", "y", "width", "height"].map(|name| number(&format!(" {rect}"), name))).collect();
    assert_eq!(rects.len(), 5);
    let (width, height) = (number(&svg, "width"), number(&svg, "height"));
    for (at, [x, y, w, h]) in rects.iter().enumerate() {
        assert!(x + w <= width && y + h <= height);
        for [x2, y2, w2, h2] in &rects[..at] {
            assert!(x + w <= *x2 || x2 + w2 <= *x || y + h <= *y2 || y2 + h2 <= *y, "two boxes overlap");
        }
    }
}

#[test]
fn both_drawings_say_how_many_letters_are_kept_and_how_long() {
    for (setting, said) in [
        ("retention: 7d, max_length: 9", "9 letters, kept 7d"),
        ("dead_letter_target: r", "1024 letters, moved on at once"),
        ("overflow: hold", "1024 letters, kept for ever"),
    ] {
        let topology = yaml(&format!("queues: [{{ name: q, visibility: 2m, dlq: d }}, {{ name: d, {setting} }}, {{ name: r }}]")).unwrap();
        let (svg, dot) = (topology.to_svg(), topology.to_dot());
        assert!(svg.contains(said) && svg.contains("5 attempts, lease 2m"), "{svg}");
        assert!(dot.contains(&format!("label=\"d\\n{said}\"")), "{dot}");
    }
}

#[test]
fn a_graph_is_well_formed_whatever_the_names() {
    let dot = nasty().to_dot();
    assert!(dot.starts_with("digraph topology {\n") && dot.ends_with("}\n"));
    let mut edges = 0;
    for line in dot.lines().skip(1).take_while(|line| *line != "}") {
        assert!(line.ends_with(';'), "{line}");
        // outside of strings there are only words and punctuation of the language
        let (mut inside, mut escaped, mut outside) = (false, false, String::new());
        for c in line.chars() {
            match c {
                '"' if !escaped => inside = !inside,
                c if !inside => outside.push(c),
                _ => {}
            }
            escaped = inside && c == '\\' && !escaped;
        }
        assert!(!inside, "{line}");
        assert!(outside.chars().all(|c| c.is_ascii_alphanumeric() || " [];=,->".contains(c)), "{line}");
        edges += usize::from(outside.contains("->"));
    }
    assert_eq!(edges, 6, "{dot}");
}
