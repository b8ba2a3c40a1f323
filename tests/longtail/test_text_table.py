from longtail.text_table import text_table


def test_columns_are_as_wide_as_their_widest_cell_and_lines_have_no_trailing_spaces():
    assert text_table([["a", "long"], ["wider", ""]]) == "a      long\n-----  ----\nwider"
