from longtail.run_report.description import description


def test_it_has_the_words_the_table_and_where_the_figures_are(facts):
    figures = {"evaluation": [("groups.png", "#/a/groups.png"), ("per_class.png", "#/a/per_class.png")]}
    text = description(facts, "#/a/report.html", figures)
    assert "Balancing by crt lowers the trace.\n\n" in text
    assert "| classifier | all | many | medium | few | gain: all | gain: few |\n| --- | ---: |" in text
    assert "\n| crt | 73.3 (" in text
    assert "[report.html](#/a/report.html)" in text
    assert "- evaluation: [groups.png](#/a/groups.png), [per_class.png](#/a/per_class.png)" in text


def test_it_goes_without_files(facts):
    text = description(facts, "", {})
    assert "report.html" not in text and "Figures" not in text
