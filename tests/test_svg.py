"""Marks of charts: well-formed whatever the words, and in their places."""

from xml.etree import ElementTree

from hybrid_mmsa.explain.svg import WIDTH, Frame, circle, drawing, line, polygon, polyline, rectangle, text

ODD = 'a <b> & "c"'
FRAME = Frame(left=10, top=20, width=100, height=50)


def test_a_drawing_is_well_formed_and_named_for_screen_readers():
    marks = [
        line(0, 0, 1, 1, "grid"),
        circle(1, 2, 3, "dot", ODD),
        rectangle(1, 2, 3, 4, "bar", ODD),
        polyline([(0, 0), (1, 1)], "curve", ODD),
        polygon([(0, 0), (1, 1), (1, 0)], "band"),
        text(1, 2, ODD, anchor="start", kind="strong"),
    ]
    root = ElementTree.fromstring(drawing(ODD, 40, marks, kind="negative"))
    assert root.attrib == {"class": "negative", "viewBox": f"0 0 {WIDTH} 40", "role": "img", "aria-label": ODD}
    assert [child.tag for child in root] == ["line", "circle", "rect", "polyline", "polygon", "text"]
    assert [title.text for title in root.iter("title")] == [ODD] * 3
    assert root.find("text").text == ODD
    assert root.find("polygon").get("points") == "0.0,0.0 1.0,1.0 1.0,0.0"


def test_values_have_their_places_in_a_frame():
    assert (FRAME.x(0), FRAME.x(1), FRAME.y(0), FRAME.y(1)) == (10, 110, 70, 20)
    mark = ElementTree.fromstring(FRAME.line((0, 0), (0.5, 1), "ideal"))
    assert [mark.get(name) for name in ("x1", "y1", "x2", "y2")] == ["10.0", "70.0", "60.0", "20.0"]


def test_a_mark_without_a_tip_has_no_title():
    assert "<title>" not in circle(1, 2, 3, "dot") + rectangle(1, 2, 3, 4, "bar") + polyline([(0, 0)], "curve")
