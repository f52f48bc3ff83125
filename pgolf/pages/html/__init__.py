"""The report page: elements of HTML, the runs one by one, the whole. One file, nothing loaded, readable without its
script.
"""
