"""METG: the least granularity of tasks at which a machine keeps its efficiency.

``grid`` has the tasks of Task Bench, ``blocks`` shares them out, ``actors`` and ``node_grid`` run
them, ``sweep`` measures, ``curves`` finds METG in what was measured.
"""
